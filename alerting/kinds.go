package alerting

import (
	"slices"

	"kemi.dev/kemi/alerting/notify"
	"kemi.dev/kemi/alerting/notify/alertmanager"
	"kemi.dev/kemi/alerting/notify/exec"
	"kemi.dev/kemi/alerting/notify/http"
	"kemi.dev/kemi/alerting/notify/inbox"
	"kemi.dev/kemi/alerting/notify/log"
	"kemi.dev/kemi/alerting/notify/mail"
	"kemi.dev/kemi/alerting/notify/webhook"
	"kemi.dev/kemi/internal/conf"
)

// kinds are the receivers there are, one line each.
func kinds(boxes *inbox.Set) map[string]maker {
	return map[string]maker{
		"webhook": kind(webhook.Default, webhook.New),
		"log":     kind(log.Default, log.New),
		"inbox":   kind(inbox.Default, boxes.New),
		"mail":    kind(mail.Default, mail.New),
		"exec":    kind(exec.Default, exec.New),
		"http":    kind(http.Default, http.New),

		"discord":    alertmanager.Kind("discord"),
		"incidentio": alertmanager.Kind("incidentio"),
		"jira":       alertmanager.Kind("jira"),
		"mattermost": alertmanager.Kind("mattermost"),
		"msteams":    alertmanager.Kind("msteams"),
		"msteamsv2":  alertmanager.Kind("msteamsv2"),
		"opsgenie":   alertmanager.Kind("opsgenie"),
		"pagerduty":  alertmanager.Kind("pagerduty"),
		"pushover":   alertmanager.Kind("pushover"),
		"rocketchat": alertmanager.Kind("rocketchat"),
		"slack":      alertmanager.Kind("slack"),
		"sns":        alertmanager.Kind("sns"),
		"telegram":   alertmanager.Kind("telegram"),
		"victorops":  alertmanager.Kind("victorops"),
		"webex":      alertmanager.Kind("webex"),
		"wechat":     alertmanager.Kind("wechat"),
	}
}

// maker makes a receiver from its part of the configuration.
type maker func(name string, n conf.Node, env notify.Env) (notify.Notifier, conf.Problems)

func kind[C any](def func() C, build func(name string, c C, env notify.Env) (notify.Notifier, error)) maker {
	return func(name string, n conf.Node, env notify.Env) (notify.Notifier, conf.Problems) {
		c := def()
		if problems := n.Into(&c); len(problems) > 0 {
			return nil, problems
		}
		receiver, err := build(name, c, env)
		if err != nil {
			return nil, conf.Problems{n.Problem("receiver "+name+": "+err.Error(), "correct its settings")}
		}
		return receiver, nil
	}
}

// limitKey stands beside the kind of a receiver: a limit of its own, see Policy.ReceiverLimit.
const limitKey = "limit"

// receive makes the receiver that a node describes: one key, its kind, with its settings below.
func receive(makers map[string]maker, name string, n conf.Node, env notify.Env) (notify.Notifier, conf.Problems) {
	known := make([]string, 0, len(makers))
	for k := range makers {
		known = append(known, k)
	}
	slices.Sort(known)
	keys := slices.DeleteFunc(slices.Clone(n.Keys()), func(k conf.Node) bool { return k.Text() == limitKey })
	if n.Kind() != conf.Map || len(keys) != 1 {
		return nil, conf.Problems{n.Problem("receiver \""+name+"\" needs exactly one kind", "write for example "+name+": {webhook: {url: \"http://127.0.0.1:9999/\"}}")}
	}
	m := makers[keys[0].Text()]
	if m == nil {
		return nil, conf.Problems{keys[0].Problem("there is no kind of receiver \""+keys[0].Text()+"\"", suggest(keys[0].Text(), known, "the kinds are "))}
	}
	return m(name, n.Get(keys[0].Text()), env)
}

// limitOf reads the limit that stands beside the kind of a receiver; none is -1.
func limitOf(n conf.Node) (int, conf.Problems) {
	limit := -1
	at := n.Get(limitKey)
	if at.IsZero() {
		return limit, nil
	}
	if problems := at.Into(&limit); len(problems) > 0 {
		return -1, problems
	}
	if limit < 0 {
		return -1, conf.Problems{at.Problem("limit is negative", "use 1 or more, or 0 for no limit")}
	}
	return limit, nil
}
