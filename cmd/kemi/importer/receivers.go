package importer

import (
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/prometheus/alertmanager/config"

	"kemi.dev/kemi/alerting/notify/alertmanager"
	"kemi.dev/kemi/alerting/route"
	"kemi.dev/kemi/internal/conf"
)

// integration is one of Alertmanager's kinds of receiver.
type integration struct {
	list, kind string
	global     []inherited
}

// inherited is a setting that is taken from `global:` where a receiver does not have it. With file, neither key nor
// key_file may be there, and both are looked for under global.
type inherited struct {
	key, from string
	file      bool
}

// integrations lists them in the order in which Alertmanager's documentation does. What they inherit is what
// Alertmanager's config.Config fills in when it is loaded.
func integrations() []integration {
	return []integration{
		{"discord_configs", "discord", nil},
		{"email_configs", "mail", []inherited{
			{"from", "smtp_from", false},
			{"hello", "smtp_hello", false},
			{"smarthost", "smtp_smarthost", false},
			{"auth_username", "smtp_auth_username", false},
			{"auth_password", "smtp_auth_password", true},
			{"auth_secret", "smtp_auth_secret", true},
			{"auth_identity", "smtp_auth_identity", false},
			{"require_tls", "smtp_require_tls", false},
			{"tls_config", "smtp_tls_config", false},
			{"force_implicit_tls", "smtp_force_implicit_tls", false},
		}},
		{"incidentio_configs", "incidentio", nil},
		{"jira_configs", "jira", []inherited{{"api_url", "jira_api_url", false}}},
		{"mattermost_configs", "mattermost", []inherited{{"webhook_url", "mattermost_webhook_url", true}}},
		{"msteams_configs", "msteams", nil},
		{"msteamsv2_configs", "msteams", nil},
		{"opsgenie_configs", "opsgenie", []inherited{{"api_url", "opsgenie_api_url", false}, {"api_key", "opsgenie_api_key", true}}},
		{"pagerduty_configs", "pagerduty", []inherited{{"url", "pagerduty_url", false}}},
		{"pushover_configs", "pushover", nil},
		{"rocketchat_configs", "rocketchat", []inherited{
			{"api_url", "rocketchat_api_url", false}, {"token_id", "rocketchat_token_id", true}, {"token", "rocketchat_token", true},
		}},
		{"slack_configs", "slack", nil}, // See slack.
		{"sns_configs", "sns", nil},
		{"telegram_configs", "telegram", []inherited{{"api_url", "telegram_api_url", false}, {"bot_token", "telegram_bot_token", true}}},
		{"victorops_configs", "victorops", []inherited{{"api_url", "victorops_api_url", false}, {"api_key", "victorops_api_key", true}}},
		{"webex_configs", "webex", []inherited{{"api_url", "webex_api_url", false}}},
		{"webhook_configs", "webhook", nil},
		{"wechat_configs", "wechat", []inherited{
			{"api_url", "wechat_api_url", false}, {"api_secret", "wechat_api_secret", true}, {"corp_id", "wechat_api_corp_id", false},
		}},
	}
}

// made is one receiver of ours.
type made struct {
	kind     string
	settings mapping
}

// receivers converts all receivers and learns what theirs are called with us.
func (c *converter) receivers(n conf.Node) mapping {
	byList := map[string]integration{}
	for _, i := range integrations() {
		byList[i.list] = i
	}
	var out mapping
	var names []string // Alertmanager's, which keep theirs where they can.
	for _, r := range n.Items() {
		names = append(names, r.Get("name").Text())
	}
	for _, r := range n.Items() {
		name := r.Get("name").Text()
		path := "receivers." + name
		var all []made
		for _, key := range r.Keys() {
			kind, known := byList[key.Text()]
			for i, at := range r.Get(key.Text()).Items() {
				if known {
					all = append(all, made{kind.kind, c.receiver(kind, at, fmt.Sprintf("%s.%s[%d]", path, kind.list, i), name+"-"+kind.kind)})
				}
			}
		}
		if at := r.Get("labels"); len(at.Keys()) > 0 {
			c.note(at, path+".labels", "labels of receivers are not brought over", "filter by the receiver's name")
		}
		ours := c.plainName(r, name, names)
		if len(all) == 0 {
			all = []made{{"log", mapping{}}}
			c.note(r, path, "has no integrations and tells nobody", "its pages are in the ledger and in the log")
		}
		for _, m := range all {
			own := ours
			if len(all) > 1 {
				own = unused(ours+"-"+m.kind, names)
				names = append(names, own)
			}
			c.told[name] = append(c.told[name], own)
			out.add(own, mapping{{key: m.kind, value: m.settings}})
		}
	}
	return out
}

// plainName is the name of a receiver with us, where some words are taken.
func (c *converter) plainName(n conf.Node, name string, taken []string) string {
	plain := strings.ReplaceAll(name, route.TeamPrefix, "team-")
	if name == route.Owner {
		plain = "owner-receiver"
	}
	if plain != name {
		plain = unused(plain, taken)
		c.note(n, "receivers."+name, "has another name, because routes take "+name+" for a team", "it is "+plain+" now")
	}
	return plain
}

func unused(name string, taken []string) string {
	for n, try := 2, name; ; n++ {
		if !slices.Contains(taken, try) {
			return try
		}
		try = fmt.Sprintf("%s-%d", name, n)
	}
}

// receiver converts the settings of one integration.
func (c *converter) receiver(kind integration, n conf.Node, path, stem string) mapping {
	entries := entriesOf(n, path, stem)
	for _, in := range kind.global {
		entries = c.inherit(entries, in)
	}
	if kind.list != "email_configs" {
		entries = c.inherit(entries, inherited{"http_config", "http_config", false})
	}
	switch kind.list {
	case "webhook_configs":
		return c.webhook(entries)
	case "email_configs":
		return c.mail(entries, n, path)
	}
	if kind.list == "slack_configs" {
		entries = c.slack(entries)
	}
	out := c.settings(entries, typeOf(kind.list), true)
	if proxy := c.global.Get("http_config").Get("proxy_url"); kind.list == "msteamsv2_configs" && !proxy.IsZero() {
		// The one integration that takes the proxy alone over.
		for i, p := range out {
			if own, ok := p.value.(mapping); ok && p.key == "http_config" && own.get("proxy_url") == nil {
				own.add(c.secretOrText(entry{"proxy_url", proxy, "global.http_config.proxy_url", "global", "proxy_url"}))
				out[i].value = own
			}
		}
	}
	if kind.list == "rocketchat_configs" && out.get("api_url") == nil && out.get("api_url_file") == nil {
		out.add("api_url", config.DefaultGlobalConfig().RocketchatAPIURL.String()) // Kemi's has no default.
	}
	if kind.list == "msteams_configs" {
		out = out.without("summary")
		c.note(n, path, "Office 365 connectors are gone, messages are sent as Microsoft's Workflows take them",
			"make a workflow \"Post to a channel when a webhook request is received\" and give its URL")
	}
	c.unusable(kind.kind, out, n, path)
	return c.supported(out, n, path)
}

// unusable names what Alertmanager takes, and what works with neither.
func (c *converter) unusable(kind string, out mapping, n conf.Node, path string) {
	has := func(keys ...string) bool {
		return slices.ContainsFunc(keys, func(key string) bool { return out.get(key) != nil })
	}
	at, _ := out.get("api_url").(string)
	api := has("app_token", "app_token_file") || strings.HasSuffix(at, "/chat.postMessage")
	if kind == "slack" && api && !has("channel") || kind == "rocketchat" && !has("channel") {
		c.note(n, path, "it has no channel, and the provider's API wants one", "write channel: and its name")
	}
	client, _ := out.get("http_config").(mapping)
	if proxy, there := client.get("proxy_url").(string); there && !strings.HasPrefix(proxy, "http://") && !strings.HasPrefix(proxy, "https://") {
		c.note(n, path+".http_config.proxy_url", "the address is not one of a proxy", "write http://host:port or https://host:port")
	}
	if kind == "wechat" && !has("to_user", "to_party", "to_tag") {
		c.note(n, path, "it is for nobody", "write to_user, to_party or to_tag")
	}
}

func (c *converter) secretOrText(e entry) (string, any) {
	if hasPassword(e.node.Text()) {
		return c.secret(e, e.node.Text(), false)
	}
	return e.key, e.node.Text()
}

// supported takes out what Kemi's receivers refuse.
func (c *converter) supported(out mapping, n conf.Node, path string) mapping {
	for key, do := range map[string]string{
		"update_message":      "every page is a message of its own",
		"use_aws_http_client": "give the authority under http_config: tls_config: ca_file",
	} {
		if out.get(key) == true {
			c.note(n.Get(key), path+"."+key, "is not brought over", do)
		}
		out = out.without(key)
	}
	if text, ok := out.get("timeout").(string); ok {
		if value := c.timeout(n.Get("timeout"), path+".timeout", text); value == nil {
			out = out.without("timeout")
		} else {
			out[slices.IndexFunc(out, func(p pair) bool { return p.key == "timeout" })].value = value
		}
	}
	return out
}

// longest is how long Kemi lets an attempt take at most.
const longest = 5 * time.Minute

// timeout brings the timeout of an attempt over; nil when it is to be Kemi's own.
func (c *converter) timeout(n conf.Node, path, text string) any {
	d, err := conf.ParseDuration(text)
	switch {
	case err != nil || d <= 0:
		c.note(n, path, "an attempt without a timeout is not brought over", "it is Kemi's own now, 10s")
		return nil
	case d > longest:
		c.note(n, path, "an attempt may take 5m at most", "it is 5m now")
		return "5m"
	}
	return text
}

func has(entries []entry, keys ...string) bool {
	return slices.ContainsFunc(entries, func(e entry) bool {
		return slices.Contains(keys, e.key) && e.node.Kind() != conf.Null
	})
}

// inherit adds what is not there and stands under global.
func (c *converter) inherit(entries []entry, in inherited) []entry {
	if has(entries, in.key) || in.file && has(entries, in.key+"_file") {
		return entries
	}
	for _, suffix := range []string{"", "_file"} {
		if at := c.global.Get(in.from + suffix); at.Kind() != conf.Null && (suffix == "" || in.file) {
			entries = append(entries, entry{in.key + suffix, at, "global." + in.from + suffix, "global", in.from + suffix})
		}
	}
	return entries
}

// slack takes over what is global as Alertmanager does: a token goes before a URL, unless the receiver has its own way.
func (c *converter) slack(entries []entry) []entry {
	entries = c.inherit(entries, inherited{"app_url", "slack_app_url", false})
	authorized := false
	for _, e := range entries {
		if e.key == "http_config" && strings.HasPrefix(e.path, "receivers.") {
			authorized = slices.ContainsFunc([]string{"authorization", "bearer_token", "bearer_token_file"}, func(k string) bool { return !e.node.Get(k).IsZero() })
		}
	}
	if !authorized && !has(entries, "api_url") {
		entries = c.inherit(entries, inherited{"app_token", "slack_app_token", true})
	}
	if has(entries, "app_token", "app_token_file") {
		return slices.DeleteFunc(entries, func(e entry) bool { return e.key == "api_url" || e.key == "api_url_file" })
	}
	return c.inherit(entries, inherited{"api_url", "slack_api_url", true})
}

// typeOf is the type of the entries of one of the lists of config.Receiver.
func typeOf(list string) reflect.Type {
	keys, _ := alertmanager.FieldsOf(reflect.TypeFor[config.Receiver]())
	return keys[list].Elem().Elem()
}
