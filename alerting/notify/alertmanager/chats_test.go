package alertmanager

import (
	"encoding/json"
	"net/http"
	"regexp"
	"slices"
	"strings"
)

type slackBody struct {
	Channel     string `json:"channel"`
	Username    string `json:"username"`
	IconEmoji   string `json:"icon_emoji"`
	IconURL     string `json:"icon_url"`
	LinkNames   bool   `json:"link_names"`
	Text        string `json:"text"`
	Attachments []struct {
		Title      string              `json:"title"`
		TitleLink  string              `json:"title_link"`
		Pretext    string              `json:"pretext"`
		Text       string              `json:"text"`
		Fallback   string              `json:"fallback"`
		CallbackID string              `json:"callback_id"`
		Fields     []map[string]any    `json:"fields"`
		Actions    []map[string]string `json:"actions"`
		ImageURL   string              `json:"image_url"`
		ThumbURL   string              `json:"thumb_url"`
		Footer     string              `json:"footer"`
		Color      string              `json:"color"`
		MrkdwnIn   []string            `json:"mrkdwn_in"`
	} `json:"attachments"`
}

func slackMessage(c *call) slackBody {
	var b slackBody
	c.schema(&b)
	if len(b.Attachments) != 1 {
		c.errorf("%d attachments", len(b.Attachments))
		return b
	}
	a := b.Attachments[0]
	c.must("title", a.Title, 1024)
	c.must("text", a.Text, 12000)
	if strings.ContainsAny(a.Title+a.Text, "<>") {
		c.errorf("markup that is not escaped: %q", a.Title+a.Text)
	}
	c.does, c.to, c.text = "say", b.Channel, a.Title+"\n"+a.Text
	return b
}

// Source: api.slack.com/methods/chat.postMessage.
func slackApp() provider {
	return provider{
		kind: "slack", conf: "app_url: URL/api/chat.postMessage\napp_token: xoxb-S3CRET\nchannel: '#network'\n",
		lies:  []string{`{"ok":false,"error":"channel_not_found"}`, `{"ok":false,"error":"invalid_auth"}`},
		later: []string{`{"ok":false,"error":"ratelimited"}`, `{"ok":false,"error":"service_unavailable"}`},
		serve: func(c *call) answer {
			c.want("POST", "/api/chat.postMessage")
			c.header("Authorization", "Bearer xoxb-S3CRET")
			slackMessage(c)
			return jsonAnswer(200, `{"ok":true,"channel":"C123","ts":"1503435956.000247"}`)
		},
	}
}

// Source: api.slack.com/messaging/webhooks: the answer is plain text.
func slackHook() provider {
	return provider{
		kind: "slack", conf: "api_url: URL/services/T0/B0/S3CRET\nchannel: '#network'\n",
		lies: []string{"invalid_payload"},
		serve: func(c *call) answer {
			c.want("POST", "/services/T0/B0/S3CRET")
			slackMessage(c)
			return answer{200, "ok", map[string]string{"Content-Type": "text/html"}}
		},
	}
}

// Source: learn.microsoft.com/connectors/teams, adaptive cards for webhooks of workflows.
func teams(kind string) provider {
	return provider{kind: kind, conf: "webhook_url: URL/workflows/S3CRET/triggers\n", serve: func(c *call) answer {
		if !strings.HasPrefix(c.URL.Path, "/workflows/") {
			c.errorf("path %s", c.URL.Path)
		}
		var b struct {
			Type        string `json:"type"`
			Attachments []struct {
				ContentType string  `json:"contentType"`
				ContentURL  *string `json:"contentUrl"`
				Content     struct {
					Schema  string `json:"$schema"`
					Type    string `json:"type"`
					Version string `json:"version"`
					Body    []struct {
						Type, Text, Weight, Size, Style, Color string
						Wrap                                   bool
					} `json:"body"`
					Msteams map[string]string `json:"msteams"`
				} `json:"content"`
			} `json:"attachments"`
		}
		c.schema(&b)
		if b.Type != "message" || len(b.Attachments) != 1 || b.Attachments[0].ContentType != "application/vnd.microsoft.card.adaptive" || len(b.Attachments[0].Content.Body) != 2 {
			c.errorf("not one card of two blocks: %s", c.body)
			return answer{status: 400}
		}
		if len(c.body) > 28*1024 {
			c.errorf("%d bytes, want 28 kB at most", len(c.body))
		}
		body := b.Attachments[0].Content.Body
		c.must("title", body[0].Text, 1000)
		c.must("text", body[1].Text, 20000)
		c.does, c.to, c.text = "say", c.URL.Path, body[0].Text+"\n"+body[1].Text
		return answer{status: 202}
	}}
}

// Source: discord.com/developers/docs/resources/webhook, execute webhook.
func discord() provider {
	return provider{kind: "discord", conf: "webhook_url: URL/api/webhooks/1/S3CRET\n", serve: func(c *call) answer {
		if !strings.HasPrefix(c.URL.Path, "/api/webhooks/") {
			c.errorf("path %s", c.URL.Path)
		}
		var b struct {
			Content   string `json:"content"`
			Username  string `json:"username"`
			AvatarURL string `json:"avatar_url"`
			Embeds    []struct {
				Title       string `json:"title"`
				Description string `json:"description"`
				Color       int    `json:"color"`
			} `json:"embeds"`
		}
		c.schema(&b)
		if len(b.Embeds) != 1 {
			c.errorf("%d embeds", len(b.Embeds))
			return answer{status: 400}
		}
		c.must("title", b.Embeds[0].Title, 256)
		c.must("description", b.Embeds[0].Description, 4096)
		c.does, c.to, c.text = "say", c.URL.Path, b.Embeds[0].Title+"\n"+b.Embeds[0].Description
		return answer{status: 204}
	}}
}

// Source: core.telegram.org/bots/api#sendmessage.
func telegram() provider {
	return provider{
		kind: "telegram", conf: "api_url: URL\nbot_token: '1:S3CRET'\nchat_id: -1001\n",
		lies:  []string{`{"ok":false,"error_code":400,"description":"Bad Request: chat not found"}`},
		later: []string{`{"ok":false,"error_code":429,"description":"Too Many Requests","parameters":{"retry_after":17}}`},
		serve: func(c *call) answer {
			c.want("POST", "/bot1:S3CRET/sendMessage")
			var b struct {
				ChatID  string `json:"chat_id"`
				Text    string `json:"text"`
				Mode    string `json:"parse_mode"`
				Preview string `json:"disable_web_page_preview"`
				Quiet   string `json:"disable_notification"`
			}
			c.schema(&b)
			c.must("chat_id", b.ChatID, 30)
			c.must("text", b.Text, 4096)
			if strings.Contains(b.Text, "could not be sent") {
				c.errorf("the words are lost: %s", b.Text)
			}
			c.does, c.to, c.text = "say", b.ChatID, b.Text
			return jsonAnswer(200, `{"ok":true,"result":{"message_id":1,"date":1,"chat":{"id":-1001,"type":"group"}}}`)
		},
	}
}

// Source: docs.aws.amazon.com/sns/latest/api/API_Publish.html.
func sns() provider {
	return provider{kind: "sns", conf: "api_url: URL\nsigv4: {region: eu-west-1, access_key: AKIDEXAMPLE, secret_key: S3CRET-aws}\ntopic_arn: 'arn:aws:sns:eu-west-1:1:kemi.fifo'\n", serve: func(c *call) answer {
		c.want("POST", "/")
		if !strings.HasPrefix(c.Header.Get("Authorization"), "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/") {
			c.errorf("Authorization: %s", c.Header.Get("Authorization"))
		}
		v := form(c)
		for name := range v {
			if !slices.Contains([]string{"Action", "Version", "TopicArn", "TargetArn", "PhoneNumber", "Message", "Subject", "MessageDeduplicationId", "MessageGroupId"}, name) {
				c.errorf("parameter %s", name)
			}
		}
		if v.Get("Action") != "Publish" || v.Get("Version") != "2010-03-31" {
			c.errorf("%s %s", v.Get("Action"), v.Get("Version"))
		}
		c.must("Message", v.Get("Message"), 256*1024)
		if s := v.Get("Subject"); s != "" && !regexp.MustCompile(`^[!-~][ -~]{0,98}$`).MatchString(s) {
			c.errorf("subject %q", s)
		}
		if strings.HasSuffix(v.Get("TopicArn"), ".fifo") {
			c.must("MessageDeduplicationId", v.Get("MessageDeduplicationId"), 128)
			c.must("MessageGroupId", v.Get("MessageGroupId"), 128)
		}
		c.does, c.key, c.to, c.text = "say", v.Get("MessageDeduplicationId"), v.Get("TopicArn")+v.Get("TargetArn")+v.Get("PhoneNumber"), v.Get("Message")
		return answer{200, `<PublishResponse xmlns="https://sns.amazonaws.com/doc/2010-03-31/"><PublishResult><MessageId>567910cd</MessageId></PublishResult><ResponseMetadata><RequestId>d74b</RequestId></ResponseMetadata></PublishResponse>`, map[string]string{"Content-Type": "text/xml"}}
	}}
}

// Source: pushover.net/api.
func pushover() provider {
	return provider{
		kind: "pushover", conf: "token: S3CRETapp\nuser_key: uQiRzpo4DXghDmr9QzzfQu27cmVRsG\nhttp_config: {proxy_url: URL, tls_config: {ca_file: ca.pem, server_name: example.com}}\n",
		lies: []string{`{"user":"invalid","errors":["user identifier is invalid"],"status":0,"request":"5042853c"}`},
		serve: func(c *call) answer {
			c.want("POST", "/1/messages.json")
			v := c.URL.Query()
			for name := range v {
				if !slices.Contains([]string{"token", "user", "title", "message", "url", "url_title", "priority", "retry", "expire", "device", "sound"}, name) {
					c.errorf("parameter %s", name)
				}
			}
			if v.Get("token") != "S3CRETapp" {
				c.errorf("token")
			}
			c.must("title", v.Get("title"), 250)
			c.must("message", v.Get("message"), 1024)
			c.does, c.to, c.text = "say", v.Get("user"), v.Get("title")+"\n"+v.Get("message")
			return jsonAnswer(200, `{"status":1,"request":"647d2300"}`)
		},
	}
}

// Source: developer.webex.com/docs/api/v1/messages/create-a-message.
func webex() provider {
	return provider{kind: "webex", conf: "api_url: URL/v1/messages\nroom_id: Y2lz\nhttp_config: {authorization: {credentials: S3CRET-webex}}\n", serve: func(c *call) answer {
		c.want("POST", "/v1/messages")
		c.header("Authorization", "Bearer S3CRET-webex")
		var b struct {
			RoomID   string `json:"roomId"`
			Markdown string `json:"markdown"`
		}
		c.schema(&b)
		c.must("roomId", b.RoomID, 200)
		if len(b.Markdown) == 0 || len(b.Markdown) > 7439 {
			c.errorf("markdown has %d bytes", len(b.Markdown))
		}
		c.does, c.to, c.text = "say", b.RoomID, b.Markdown
		return jsonAnswer(200, `{"id":"1"}`)
	}}
}

// Source: developer.work.weixin.qq.com, gettoken and message/send.
func wechat() provider {
	return provider{
		kind: "wechat", conf: "api_url: URL/cgi-bin/\napi_secret: S3CRET-we\ncorp_id: ww1\nto_party: '7'\nagent_id: '1000002'\n",
		lies:  []string{`{"errcode":81013,"errmsg":"user & party & tag all invalid"}`},
		later: []string{`{"errcode":-1,"errmsg":"system busy"}`, `{"errcode":42001,"errmsg":"access_token expired"}`, `{"errcode":40014,"errmsg":"invalid access_token"}`},
		serve: func(c *call) answer {
			if c.Method == http.MethodGet {
				c.want("GET", "/cgi-bin/gettoken")
				if q := c.URL.Query(); q.Get("corpid") != "ww1" || q.Get("corpsecret") != "S3CRET-we" {
					c.errorf("query %v", q)
				}
				return jsonAnswer(200, `{"errcode":0,"errmsg":"ok","access_token":"S3CRET-token","expires_in":7200}`)
			}
			c.want("POST", "/cgi-bin/message/send")
			if c.URL.Query().Get("access_token") != "S3CRET-token" {
				c.errorf("access_token")
			}
			var b struct {
				ToUser   string `json:"touser"`
				ToParty  string `json:"toparty"`
				ToTag    string `json:"totag"`
				Type     string `json:"msgtype"`
				AgentID  string `json:"agentid"`
				Safe     string `json:"safe"`
				Text     struct{ Content string }
				Markdown struct{ Content string }
			}
			c.schema(&b)
			if b.Type != "text" || len(b.Text.Content) == 0 || len(b.Text.Content) > 2048 {
				c.errorf("%s of %d bytes", b.Type, len(b.Text.Content))
			}
			c.does, c.to, c.text = "say", b.ToUser+b.ToParty, b.Text.Content
			return jsonAnswer(200, `{"errcode":0,"errmsg":"ok","msgid":"xxxx"}`)
		},
	}
}

// Source: developer.rocket.chat, chat.postMessage.
func rocketchat() provider {
	return provider{
		kind: "rocketchat", conf: "api_url: URL\ntoken: S3CRET-rc\ntoken_id: S3CRET-id\nchannel: '#network'\n",
		lies:  []string{`{"success":false,"error":"[invalid-channel]"}`},
		later: []string{`{"success":false,"error":"Error, too many requests. [error-too-many-requests]"}`},
		serve: func(c *call) answer {
			c.want("POST", "/api/v1/chat.postMessage")
			c.header("X-Auth-Token", "S3CRET-rc")
			c.header("X-User-Id", "S3CRET-id")
			var b struct {
				Channel, Text, Alias, Emoji, Avatar string
				Attachments                         []struct {
					Title     string `json:"title"`
					TitleLink string `json:"title_link"`
					Text      string `json:"text"`
					Color     string `json:"color"`
				} `json:"attachments"`
			}
			c.schema(&b)
			if len(b.Attachments) != 1 {
				c.errorf("%d attachments", len(b.Attachments))
				return answer{status: 400}
			}
			c.must("text", b.Attachments[0].Text, 5000)
			c.does, c.to, c.text = "say", b.Channel, b.Attachments[0].Title+"\n"+b.Attachments[0].Text
			return jsonAnswer(200, `{"success":true,"channel":"network","ts":1481748965123}`)
		},
	}
}

// Source: developers.mattermost.com/integrate/webhooks/incoming.
func mattermost() provider {
	return provider{kind: "mattermost", conf: "webhook_url: URL/hooks/S3CRET\nchannel: network\n", serve: func(c *call) answer {
		c.want("POST", "/hooks/S3CRET")
		var b struct {
			Text, Channel, Username, Type string
			IconURL                       string `json:"icon_url"`
			IconEmoji                     string `json:"icon_emoji"`
			Attachments                   []struct {
				Fallback, Color, Pretext, Text, Title string
				TitleLink                             string `json:"title_link"`
			} `json:"attachments"`
			Props    json.RawMessage `json:"props"`
			Priority json.RawMessage `json:"priority"`
		}
		c.schema(&b)
		if len(b.Attachments) != 1 {
			c.errorf("%d attachments", len(b.Attachments))
			return answer{status: 400}
		}
		c.must("text", b.Attachments[0].Text, 16383)
		c.does, c.to, c.text = "say", b.Channel, b.Attachments[0].Title+"\n"+b.Attachments[0].Text
		return answer{200, "ok", map[string]string{"Content-Type": "text/plain"}}
	}}
}
