package importer

import (
	"reflect"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"github.com/prometheus/alertmanager/config"
	commoncfg "github.com/prometheus/common/config"
	"gopkg.in/yaml.v2"

	"kemi.dev/kemi/internal/conf"
)

// Alertmanager, given what we wrote without anything global, understands what it understood before.
func TestReceiversKeepTheirSettings(t *testing.T) {
	before := commoncfg.MarshalSecretValue
	commoncfg.MarshalSecretValue = true
	t.Cleanup(func() { commoncfg.MarshalSecretValue = before })
	if n := sameSettings(t, strings.ReplaceAll(string(site(t)), "<secret>", "hunter-incident")); n < 14 {
		t.Errorf("only %d integrations were compared", n)
	}
	const tail = "\nroute: {receiver: x}\nreceivers:\n  - name: x\n    "
	for _, text := range []string{
		"global: {slack_app_token: t}" + tail + "slack_configs: [{channel: a}, {channel: b, http_config: {authorization: {credentials: c}}, api_url: 'https://s.example/'}]",
		"global: {slack_app_token: t, http_config: {proxy_url: 'http://p:1'}}" + tail + "slack_configs: [{channel: a, timeout: 10s}]",
		"global: {slack_api_url_file: /f, slack_app_url: 'https://slack.example/'}" + tail + "slack_configs: [{channel: a}, {channel: b, api_url_file: /g}]",
		"global: {opsgenie_api_url: 'https://o.example', opsgenie_api_key_file: /k}" + tail + "opsgenie_configs: [{priority: P1}, {api_key_file: /own}]",
		"global: {victorops_api_url: 'https://v.example', victorops_api_key: k}" + tail + "victorops_configs: [{routing_key: a}, {routing_key: b, api_key: c}]",
		"global: {wechat_api_url: 'https://w.example', wechat_api_secret: s, wechat_api_corp_id: c}" + tail + "wechat_configs: [{to_user: a}, {api_secret_file: /s, corp_id: d}]",
		"global: {telegram_api_url: 'https://t.example', telegram_bot_token_file: /t}" + tail + "telegram_configs: [{chat_id: 1}, {chat_id: -2, bot_token: b}]",
		"global: {pagerduty_url: 'https://p.example', http_config: {tls_config: {insecure_skip_verify: yes}}}" + tail + "pagerduty_configs: [{service_key: a}, {routing_key_file: /r, images: [{src: 's'}], http_config: {enable_http2: off}}]",
		"global: {rocketchat_api_url: 'https://r.example', rocketchat_token: a, rocketchat_token_id_file: /i}" + tail + "rocketchat_configs: [{channel: a}, {token: b}]",
		"global: {jira_api_url: 'https://j.example'}" + tail + "jira_configs: [{project: P, issue_type: T, fields: {customfield_1: {value: red}, customfield_2: [1, 'x']}}]",
		"global: {mattermost_webhook_url_file: /m}" + tail + "mattermost_configs: [{channel: a, props: {card: b}}, {webhook_url: 'https://m.example'}]",
		"global: {webex_api_url: 'https://x.example'}" + tail + "webex_configs: [{room_id: r, http_config: {authorization: {type: Bearer, credentials_file: /c}}}]",
		"global: {http_config: {proxy_url: 'http://p:1', follow_redirects: no}}" + tail + "msteamsv2_configs: [{webhook_url: 'https://a.example'}, {webhook_url_file: /f, http_config: {enable_http2: true}}]",
	} {
		if sameSettings(t, text) == 0 {
			t.Errorf("nothing was compared: %s", text)
		}
	}
}

// sameSettings compares every integration whose keys are Alertmanager's, and counts them.
func sameSettings(t *testing.T, text string) (compared int) {
	t.Helper()
	asAlertmanager()
	judged, err := config.Load(text)
	if err != nil {
		t.Fatal(err)
	}
	r := imported(t, text, Options{Secrets: true})
	nodes, problems := conf.Parse("kemi.yaml", r.Config)
	if len(problems) > 0 {
		t.Fatal(problems)
	}
	receivers := nodes[0].Get("receivers")
	byKind := map[string]string{}
	for _, i := range integrations() {
		byKind[i.kind] = i.list // The later one, msteamsv2_configs, is the one that there is.
	}
	var lists []any
	for _, k := range receivers.Keys() {
		kind := receivers.Get(k.Text()).Keys()[0].Text()
		if kind == "webhook" || kind == "mail" || kind == "log" { // These are Kemi's own.
			continue
		}
		lists = append(lists, mapping{
			{key: "name", value: k.Text()},
			{key: byKind[kind], value: []any{generic(receivers.Get(k.Text()).Get(kind))}},
		})
	}
	if len(lists) == 0 {
		return 0
	}
	var w writer
	w.block(mapping{{key: "route", value: mapping{{key: "receiver", value: lists[0].(mapping).get("name")}}}, {key: "receivers", value: lists}}, 0)
	again, err := config.Load(w.out.String())
	if err != nil {
		t.Fatalf("%v in\n%s", err, w.out.String())
	}
	for _, was := range judged.Receivers {
		for _, i := range integrations() {
			theirs := listed(was, i.list)
			if i.kind == "webhook" || i.kind == "mail" || i.list == "msteams_configs" {
				continue
			}
			var ours []any
			for _, is := range again.Receivers {
				if is.Name == was.Name || strings.HasPrefix(is.Name, was.Name+"-") {
					ours = append(ours, listed(is, i.list)...)
				}
			}
			if i.list == "msteamsv2_configs" {
				ours = ours[max(0, len(ours)-len(theirs)):] // Before them are those that were msteams_configs.
			}
			compared += len(theirs)
			if diff := gocmp.Diff(texts(t, theirs), texts(t, ours)); diff != "" {
				t.Errorf("%s.%s (-Alertmanager +ours)\n%s\n%s", was.Name, i.list, diff, text)
			}
		}
	}
	return compared
}

// listed returns one of the lists of a receiver.
func listed(r config.Receiver, list string) []any {
	v := reflect.ValueOf(r)
	for i := range v.NumField() {
		if name, _, _ := strings.Cut(v.Type().Field(i).Tag.Get("yaml"), ","); name == list {
			var all []any
			for j := range v.Field(i).Len() {
				all = append(all, v.Field(i).Index(j).Interface())
			}
			return all
		}
	}
	return nil
}

func texts(t *testing.T, all []any) []string {
	t.Helper()
	var out []string
	for _, one := range all {
		text, err := yaml.Marshal(one)
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, string(text))
	}
	return out
}
