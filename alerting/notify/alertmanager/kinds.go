package alertmanager

import (
	"encoding/json"
	"errors"
	"fmt"
	"html"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"kemi.dev/kemi/alerting/notify/post"
)

// spec is what Kemi knows of one of Alertmanager's integrations beyond its settings.
type spec struct {
	// list is the key of a receiver of Alertmanager's below which the settings stand.
	list string
	// dedups: the provider folds by the key, forever: not for minutes, and not by a search that lags behind.
	dedups bool
	// perPage: the key is one of the page, because the provider drops whatever comes under a key that it knows.
	perPage bool
	// needs are the settings that there must be, one of each list; a dot leads below.
	needs [][]string
	// target is the setting that a person's handle replaces, instead are others that do the same, and aim replaces it where
	// that is not all. placeholder stands for a target that only people have. phone: a person's phone number is a handle.
	target      string
	instead     []string
	placeholder any
	aim         func(settings map[string]any, handle string) error
	phone       bool
	// homeless: with these settings the provider refuses what has no target. Where a target must be in the settings for
	// the sender to be made at all there is a placeholder instead.
	homeless func(settings map[string]any) bool
	// defaults are settings that differ from Alertmanager's defaults; updates those for a page that updates another.
	defaults func(settings map[string]any) map[string]any
	updates  map[string]any
	// escape makes our words safe in the provider's markup, and room is how many characters of text it takes.
	// cost measures it if not in characters.
	escape func(string) string
	room   int
	cost   func(string) int
	// judge finds what an answer's body says beyond its status: why it is a refusal, and whether trying again can help.
	judge func(status int, body []byte) (refused string, again bool)
	// unclear are how refusals begin after which nobody knows whether the page was taken.
	unclear []string
	// spoils: a refusal may be about what the sender remembers, so that the next page needs a new one.
	spoils  bool
	timeout time.Duration
}

// Kinds are the names of the receivers that Kind makes, sorted.
func Kinds() []string { return slices.Sorted(maps.Keys(specs())) }

func specs() map[string]spec {
	teams := spec{
		list: "msteamsv2_configs", target: "webhook_url", placeholder: nowhere, room: 18_000, cost: bytesOf, // 28 kB with the card around it.
	}
	return map[string]spec{
		"pagerduty": {
			list: "pagerduty_configs", dedups: true, target: "routing_key", instead: []string{"service_key"}, placeholder: "unset",
			aim: func(settings map[string]any, handle string) error {
				settings["routing_key"], settings["service_key"] = handle, nil
				return nil
			},
			defaults: always(map[string]any{
				"severity": `{{ with .CommonLabels.severity }}{{ if match "^(critical|error|warning|info)$" . }}{{ . }}{{ else }}error{{ end }}{{ else }}error{{ end }}`,
				"source":   `{{ with .RouteLabels.cause }}{{ . }}{{ else }}Kemi{{ end }}`,
				"links": []any{
					map[string]any{"href": `{{ .RouteLabels.ack }}`, "text": "Acknowledge in Kemi"},
					map[string]any{"href": `{{ .RouteLabels.link }}`, "text": "Incident"},
					map[string]any{"href": `{{ .RouteLabels.runbook }}`, "text": "Runbook"},
				},
				// Alertmanager takes what looks like YAML in details for YAML. After a line without a colon nothing does.
				"details": map[string]any{"text": "What Kemi knows\n\n{{ .RouteLabels.text }}"},
			}),
			// Version 1 of the API answers 403 when there is too much, version 2 never does.
			judge: func(status int, _ []byte) (string, bool) { return "", status == http.StatusForbidden },
		},
		"opsgenie": {
			list: "opsgenie_configs", dedups: true, needs: [][]string{{"api_key"}}, target: "responders", room: 15_000,
			aim: func(settings map[string]any, handle string) error {
				settings["responders"] = []any{map[string]any{"type": "user", "username": handle}}
				return nil
			},
			updates: map[string]any{"update_alerts": true},
			defaults: always(map[string]any{
				"priority": `{{ $s := .CommonLabels.severity }}{{ if eq $s "critical" }}P1{{ else if match "^(error|major|high)$" $s }}P2{{ else if match "^(info|low)$" $s }}P5{{ else }}P3{{ end }}`,
			}),
		},
		"slack": {
			list: "slack_configs", target: "channel", needs: [][]string{{"api_url", "app_token"}}, escape: slackText, room: 12_000, unclear: []string{"internal_error", "fatal_error"}, // "Some aspect of the operation" may have succeeded.
			homeless: func(settings map[string]any) bool { // A webhook has a channel of its own, the API has not.
				at, _ := settings["api_url"].(string)
				return settings["app_token"] != nil || strings.HasSuffix(at, "/chat.postMessage")
			},
			judge: func(_ int, body []byte) (string, bool) {
				var a struct {
					OK    *bool  `json:"ok"`
					Error string `json:"error"`
				}
				if json.Unmarshal(body, &a) != nil {
					a.Error = strings.TrimSpace(string(body)) // Webhooks answer in plain text.
				}
				// Source: api.slack.com/methods/chat.postMessage, errors.
				again := slices.Contains([]string{"ratelimited", "rate_limited", "service_unavailable", "internal_error", "fatal_error", "request_timeout"}, a.Error)
				if a.OK != nil && !*a.OK {
					return a.Error, again
				}
				return "", again
			},
		},
		"msteams":   teams,
		"msteamsv2": teams,
		"discord":   {list: "discord_configs", target: "webhook_url", placeholder: nowhere, escape: quiet, room: 4000},
		"telegram": {
			list: "telegram_configs", target: "chat_id", placeholder: int64(1), needs: [][]string{{"bot_token"}}, room: 2600, cost: telegramText, unclear: []string{notTelegrams, "5"},
			aim: func(settings map[string]any, handle string) error {
				id, err := strconv.ParseInt(strings.TrimSpace(handle), 10, 64)
				if err != nil || id == 0 {
					return errors.New("a chat of Telegram has a number")
				}
				settings["chat_id"] = id
				return nil
			},
			judge: func(status int, body []byte) (string, bool) {
				var a struct {
					OK          *bool  `json:"ok"`
					Code        int    `json:"error_code"`
					Description string `json:"description"`
				}
				if err := json.Unmarshal(body, &a); err != nil || a.OK == nil {
					return notTelegrams, status/100 == 2
				}
				return map[bool]string{false: fmt.Sprintf("%d %s", a.Code, a.Description)}[*a.OK], post.Busy(a.Code)
			},
		},
		"sns": {
			list: "sns_configs", perPage: true, target: "phone_number", instead: []string{"topic_arn", "target_arn"}, placeholder: "+10000000000", phone: true,
			aim: func(settings map[string]any, handle string) error {
				settings["phone_number"], settings["topic_arn"], settings["target_arn"] = nil, nil, nil
				switch {
				case strings.HasPrefix(handle, "arn:") && strings.Contains(handle, ":endpoint/"):
					settings["target_arn"] = handle
				case strings.HasPrefix(handle, "arn:"):
					settings["topic_arn"] = handle
				default:
					settings["phone_number"] = handle
				}
				return nil
			},
			timeout: 30 * time.Second, // The client of AWS tries several times of its own.
			judge: func(_ int, body []byte) (string, bool) {
				return "", strings.Contains(string(body), "<Code>Throttl") || strings.Contains(string(body), "<Code>InternalError")
			},
		},
		"jira": {
			list: "jira_configs", needs: [][]string{{"api_url"}, {"project"}, {"issue_type"}}, timeout: 30 * time.Second, room: 30_000,
			defaults: func(settings map[string]any) map[string]any {
				if at, _ := settings["api_url"].(string); strings.HasSuffix(strings.TrimRight(at, "/"), "/3") {
					// Version 3 takes a document instead of text.
					return map[string]any{"description": `{"type":"doc","version":1,"content":[{"type":"codeBlock","content":[{"type":"text","text":{{ toJson .RouteLabels.text }}}]}]}`}
				}
				return nil
			},
		},
		"incidentio": {list: "incidentio_configs", dedups: true, needs: [][]string{{"url"}, {"alert_source_token", "http_config.authorization"}}},
		"pushover": {
			list: "pushover_configs", target: "user_key", placeholder: "unset", needs: [][]string{{"token"}}, room: 1000,
			defaults: always(map[string]any{
				"priority":  `{{ if and (eq .Status "firing") (match "^(page|)$" .RouteLabels.urgency) }}2{{ else }}0{{ end }}`,
				"url":       `{{ with .RouteLabels.ack }}{{ . }}{{ else }}{{ .RouteLabels.link }}{{ end }}`,
				"url_title": `{{ if .RouteLabels.ack }}Acknowledge{{ else if .RouteLabels.link }}Incident{{ end }}`,
			}),
			judge: func(_ int, body []byte) (string, bool) {
				var a struct {
					Status *int     `json:"status"`
					Errors []string `json:"errors"`
				}
				if json.Unmarshal(body, &a) != nil || a.Status == nil || *a.Status == 1 {
					return "", false
				}
				return "refused: " + strings.Join(a.Errors, ", "), false
			},
		},
		"victorops": {
			list: "victorops_configs", dedups: true, target: "routing_key", placeholder: "unset", needs: [][]string{{"api_key"}}, room: 20_000,
			defaults: always(map[string]any{
				"message_type": `{{ $s := .CommonLabels.severity }}{{ if eq $s "warning" }}WARNING{{ else if eq $s "info" }}INFO{{ else }}CRITICAL{{ end }}`,
			}),
			judge: func(_ int, body []byte) (string, bool) {
				var a struct{ Result, Message string }
				if json.Unmarshal(body, &a) != nil || a.Result == "" || a.Result == "success" {
					return "", false
				}
				return a.Result + ": " + a.Message, false
			},
		},
		"webex": {list: "webex_configs", target: "room_id", placeholder: "unset", needs: [][]string{{"http_config.authorization"}}, room: 6000, cost: bytesOf},
		"wechat": {
			list: "wechat_configs", target: "to_user", instead: []string{"to_party", "to_tag"}, homeless: whatever, needs: [][]string{{"api_secret"}, {"corp_id"}}, room: 1000, cost: bytesOf, spoils: true, unclear: []string{"errcode -1 "}, // 2048 bytes with the title.
			judge: func(_ int, body []byte) (string, bool) {
				var a struct {
					Code int    `json:"errcode"`
					Text string `json:"errmsg"`
				}
				if json.Unmarshal(body, &a) != nil || a.Code == 0 {
					return "", false
				}
				// Busy, too often, or a token that is not valid any more: developer.work.weixin.qq.com, global error codes.
				return fmt.Sprintf("errcode %d %s", a.Code, a.Text), slices.Contains([]int{-1, 40014, 42001, 45009, 45033}, a.Code)
			},
		},
		"rocketchat": {
			list: "rocketchat_configs", target: "channel", homeless: whatever, needs: [][]string{{"api_url"}, {"token"}, {"token_id"}}, escape: quiet, room: 4500,
			judge: func(_ int, body []byte) (string, bool) {
				var a struct {
					Success *bool  `json:"success"`
					Error   string `json:"error"`
				}
				if json.Unmarshal(body, &a) != nil || a.Success == nil || *a.Success {
					return "", false
				}
				return a.Error, strings.Contains(a.Error, "too-many-requests")
			},
		},
		"mattermost": {list: "mattermost_configs", target: "channel", needs: [][]string{{"webhook_url"}}, escape: quiet, room: 14_000},
	}
}

const notTelegrams = "not an answer of Telegram's"

// nowhere is a URL that no host can have (RFC 2606, 2).
const nowhere = "https://unset.invalid/"

func whatever(map[string]any) bool { return true }

func always(settings map[string]any) func(map[string]any) map[string]any {
	return func(map[string]any) map[string]any { return settings }
}

// slackText escapes what means something in Slack's markup: api.slack.com/reference/surfaces/formatting.
func slackText(s string) string {
	return strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;").Replace(s)
}

// quiet keeps the words of an alert from calling everybody in a room: a space that nobody sees takes the call apart.
func quiet(s string) string {
	for _, all := range []string{"@everyone", "@here", "@channel", "@all", "<!"} { // Mattermost knows Slack's, too.
		s = strings.ReplaceAll(s, all, all[:1]+"\u200b"+all[1:])
	}
	return s
}

// telegramText is how long a text is in Telegram's HTML, in characters: templates escape it.
func telegramText(s string) int {
	return utf8.RuneCountInString(html.EscapeString(s)) + 4*strings.Count(s, "+") // Templates write &#43;.
}

// bytesOf is how long a text is in JSON.
func bytesOf(s string) int {
	quoted, _ := json.Marshal(s) // Of a string there is always one.
	return len(quoted)
}
