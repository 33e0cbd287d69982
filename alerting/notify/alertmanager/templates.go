package alertmanager

import "strings"

// ourWords defines again what Alertmanager's templates are made of, so that its defaults, and everything that names them,
// say what Kemi says.
func ourWords() string {
	var b strings.Builder
	define := func(name, text string) { b.WriteString(`{{ define "` + name + `" }}` + text + "{{ end }}\n") }
	define("__subject", `{{ .RouteLabels.title }}`)
	define("__description", `{{ .RouteLabels.text }}`)
	define("__alertmanager", "Kemi")
	define("__alertmanagerURL", `{{ .RouteLabels.link }}`)
	for _, name := range []string{
		"slack.default.text", "opsgenie.default.description", "victorops.default.state_message", "pushover.default.message",
		"discord.default.message", "msteamsv2.default.text", "jira.default.description", "rocketchat.default.text",
		"mattermost.default.text",
	} {
		define(name, `{{ .RouteLabels.text }}`)
	}
	for _, name := range []string{"telegram.default.message", "sns.default.message", "webex.default.message", "wechat.default.message"} {
		define(name, "{{ .RouteLabels.title }}\n\n{{ .RouteLabels.text }}") // There is no other place for the title.
	}
	define("sns.default.subject", `{{ printf "%.99s" (reReplaceAll "[^ -~]" "?" .RouteLabels.title) }}`) // ASCII, below 100 characters.
	define("opsgenie.default.source", "Kemi")
	return b.String()
}
