package alertmanager

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
)

// provided are fakes of all kinds, each after the provider's published description of its API.
func provided() []provider {
	return []provider{
		pagerDuty(), opsgenie(), slackApp(), slackHook(), teams("msteams"), teams("msteamsv2"), discord(), telegram(), sns(), jira(), incidentio(),
		pushover(), victorops(), webex(), wechat(), rocketchat(), mattermost(),
	}
}

// Source: developer.pagerduty.com, Events API v2, POST /v2/enqueue.
func pagerDuty() provider {
	return provider{kind: "pagerduty", conf: "url: URL/v2/enqueue\nrouting_key: S3CRET7890123456789012345678901x\n", serve: func(c *call) answer {
		c.want("POST", "/v2/enqueue")
		var b struct {
			RoutingKey  string `json:"routing_key"`
			EventAction string `json:"event_action"`
			DedupKey    string `json:"dedup_key"`
			Client      string `json:"client"`
			ClientURL   string `json:"client_url"`
			Payload     struct {
				Summary       string         `json:"summary"`
				Source        string         `json:"source"`
				Severity      string         `json:"severity"`
				Timestamp     string         `json:"timestamp"`
				Component     string         `json:"component"`
				Group         string         `json:"group"`
				Class         string         `json:"class"`
				CustomDetails map[string]any `json:"custom_details"`
			} `json:"payload"`
			Images []struct{ Src, Href, Alt string } `json:"images"`
			Links  []struct{ Href, Text string }     `json:"links"`
		}
		c.schema(&b)
		c.must("routing_key", b.RoutingKey, 32)
		c.must("dedup_key", b.DedupKey, 255)
		c.must("summary", b.Payload.Summary, 1024)
		c.must("source", b.Payload.Source, 1024)
		if !slices.Contains([]string{"critical", "error", "warning", "info"}, b.Payload.Severity) {
			c.errorf("severity %q", b.Payload.Severity)
		}
		for _, l := range b.Links {
			if !strings.HasPrefix(l.Href, "https://") {
				c.errorf("link %q", l.Href)
			}
		}
		text, ok := b.Payload.CustomDetails["text"].(string)
		if !ok {
			c.errorf("custom_details.text is %T", b.Payload.CustomDetails["text"])
		}
		c.key, c.to, c.text = b.DedupKey, b.RoutingKey, b.Payload.Summary+text
		c.does = map[string]string{"trigger": "open", "resolve": "close"}[b.EventAction]
		if c.does == "" {
			c.errorf("event_action %q", b.EventAction)
		}
		return jsonAnswer(202, `{"status":"success","message":"Event processed","dedup_key":"`+b.DedupKey+`"}`)
	}}
}

// Source: docs.opsgenie.com, Alert API: create alert, close alert, update message and description.
func opsgenie() provider {
	return provider{kind: "opsgenie", conf: "api_url: URL/\napi_key: S3CRET-genie\nresponders: [{type: team, name: network}]\n", serve: func(c *call) answer {
		c.header("Authorization", "GenieKey S3CRET-genie")
		ok := jsonAnswer(202, `{"result":"Request will be processed","took":0.1,"requestId":"43a29c5c"}`)
		if alias := regexp.MustCompile(`^/v2/alerts/([^/]+)/(close|message|description)$`).FindStringSubmatch(c.URL.Path); alias != nil {
			if c.URL.Query().Get("identifierType") != "alias" {
				c.errorf("identifierType %q", c.URL.Query().Get("identifierType"))
			}
			var b struct{ Source, User, Note, Message, Description string }
			c.schema(&b)
			if c.key = alias[1]; alias[2] == "close" {
				c.want("POST", c.URL.Path)
				c.does = "close"
			} else {
				c.want("PUT", c.URL.Path)
			}
			return ok
		}
		c.want("POST", "/v2/alerts")
		var b struct {
			Message     string              `json:"message"`
			Alias       string              `json:"alias"`
			Description string              `json:"description"`
			Responders  []map[string]string `json:"responders"`
			VisibleTo   []map[string]string `json:"visibleTo"`
			Actions     []string            `json:"actions"`
			Tags        []string            `json:"tags"`
			Details     map[string]string   `json:"details"`
			Entity      string              `json:"entity"`
			Source      string              `json:"source"`
			Priority    string              `json:"priority"`
			User        string              `json:"user"`
			Note        string              `json:"note"`
		}
		c.schema(&b)
		c.must("message", b.Message, 130)
		c.must("alias", b.Alias, 512)
		c.must("description", b.Description, 15000)
		if !regexp.MustCompile("^P[1-5]$").MatchString(b.Priority) {
			c.errorf("priority %q", b.Priority)
		}
		for _, r := range b.Responders {
			c.to += r["username"] + r["name"]
		}
		c.does, c.key, c.text = "open", b.Alias, b.Message+b.Description
		return ok
	}}
}

// Source: developer.atlassian.com/server/jira/platform/rest, version 2: search, issue, transitions.
func jira() provider {
	var label, status string
	return provider{
		kind: "jira", conf: "api_url: URL/rest/api/2\nproject: NET\nissue_type: Incident\nresolve_transition: Done\nhttp_config: {basic_auth: {username: kemi, password: S3CRET-jira}}\n",
		serve: func(c *call) answer {
			if user, password, _ := c.BasicAuth(); user != "kemi" || password != "S3CRET-jira" {
				c.errorf("basic auth of %q", user)
			}
			switch {
			case c.URL.Path == "/rest/api/2/search":
				c.want("POST", c.URL.Path)
				var b struct {
					JQL        string   `json:"jql"`
					MaxResults int      `json:"maxResults"`
					Fields     []string `json:"fields"`
				}
				c.schema(&b)
				if label == "" || status == "done" || !strings.Contains(b.JQL, `"`+label+`"`) {
					return jsonAnswer(200, `{"issues":[]}`)
				}
				return jsonAnswer(200, `{"issues":[{"key":"NET-1","fields":{"status":{"name":"Open","statusCategory":{"key":"new"}}}}]}`)
			case c.URL.Path == "/rest/api/2/issue/NET-1/transitions" && c.Method == http.MethodGet:
				return jsonAnswer(200, `{"transitions":[{"id":"11","name":"Start"},{"id":"31","name":"Done"}]}`)
			case c.URL.Path == "/rest/api/2/issue/NET-1/transitions":
				c.want("POST", c.URL.Path)
				var b struct {
					Transition struct{ ID string } `json:"transition"`
				}
				c.schema(&b)
				if b.Transition.ID != "31" {
					c.errorf("transition %q", b.Transition.ID)
				}
				status, c.does, c.key, c.text = "done", "close", label, "Alerts"
				return answer{status: 204}
			}
			var b struct {
				Fields struct {
					Project     struct{ Key string }  `json:"project"`
					Issuetype   struct{ Name string } `json:"issuetype"`
					Summary     string                `json:"summary"`
					Description string                `json:"description"`
					Labels      []string              `json:"labels"`
					Priority    struct{ Name string } `json:"priority"`
				} `json:"fields"`
			}
			c.schema(&b)
			c.must("summary", b.Fields.Summary, 255)
			c.must("description", b.Fields.Description, 32767)
			if b.Fields.Project.Key != "NET" || b.Fields.Issuetype.Name != "Incident" || len(b.Fields.Labels) != 1 {
				c.errorf("fields %+v", b.Fields)
				return answer{status: 400}
			}
			if label == "" || status == "done" {
				status = ""
				c.want("POST", "/rest/api/2/issue")
			} else {
				c.want("PUT", "/rest/api/2/issue/NET-1")
			}
			label = b.Fields.Labels[0]
			c.does, c.key, c.text = "open", label, b.Fields.Summary+"\n"+b.Fields.Description
			if c.Method == http.MethodPut {
				return answer{status: 204}
			}
			return jsonAnswer(201, `{"id":"1","key":"NET-1"}`)
		},
	}
}

// Source: api-docs.incident.io, alert events of an Alertmanager source.
func incidentio() provider {
	return provider{kind: "incidentio", conf: "url: URL/v2/alert_events/alertmanager/01\nalert_source_token: S3CRET-io\n", serve: func(c *call) answer {
		c.want("POST", "/v2/alert_events/alertmanager/01")
		c.header("Authorization", "Bearer S3CRET-io")
		var b struct {
			Receiver           string `json:"receiver"`
			Status             string `json:"status"`
			NotificationReason string `json:"notification_reason"`
			Alerts             []struct {
				Status                         string
				Labels, Annotations            map[string]string
				StartsAt, EndsAt, GeneratorURL string
				Fingerprint                    string
			} `json:"alerts"`
			GroupLabels       map[string]string `json:"groupLabels"`
			CommonLabels      map[string]string `json:"commonLabels"`
			CommonAnnotations map[string]string `json:"commonAnnotations"`
			RouteLabels       map[string]string `json:"routeLabels"`
			ExternalURL       string            `json:"externalURL"`
			Version           string            `json:"version"`
			GroupKey          string            `json:"groupKey"`
			TruncatedAlerts   int               `json:"truncatedAlerts"`
		}
		c.schema(&b)
		c.must("groupKey", b.GroupKey, 500)
		if len(b.Alerts) == 0 {
			c.errorf("no alerts")
		}
		c.key, c.text = b.GroupKey, b.RouteLabels["title"]+b.RouteLabels["text"]
		c.does = map[string]string{"firing": "open", "resolved": "close"}[b.Status]
		return jsonAnswer(202, `{"status":"success","message":"Event accepted for processing"}`)
	}}
}

// Source: help.victorops.com, REST endpoint integration.
func victorops() provider {
	return provider{
		kind: "victorops", conf: "api_url: URL/integrations/generic/20131114/alert/\napi_key: S3CRET-vo\nrouting_key: network\n",
		lies: []string{`{"result":"failure","message":"unknown routing key"}`},
		serve: func(c *call) answer {
			to, ok := strings.CutPrefix(c.URL.Path, "/integrations/generic/20131114/alert/S3CRET-vo/")
			if !ok || c.Method != http.MethodPost {
				c.errorf("%s %s", c.Method, c.URL.Path)
			}
			var b map[string]string
			c.schema(&b)
			c.must("entity_id", b["entity_id"], 512)
			c.must("entity_display_name", b["entity_display_name"], 512)
			c.must("state_message", b["state_message"], 20480)
			c.key, c.to, c.text = b["entity_id"], to, b["entity_display_name"]+"\n"+b["state_message"]
			c.does = map[string]string{"CRITICAL": "open", "WARNING": "open", "INFO": "open", "RECOVERY": "close"}[b["message_type"]]
			if c.does == "" {
				c.errorf("message_type %q", b["message_type"])
			}
			return jsonAnswer(200, `{"result":"success","entity_id":"`+c.key+`"}`)
		},
	}
}
