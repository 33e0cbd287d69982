package alertmanager_test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/common/model"

	"kemi.dev/kemi/bus/event"
)

// Our own alerts are listed with those from elsewhere, and the filters select among both.
func TestListsAreFilteredAsAsked(t *testing.T) {
	h := serve(t, quiet)
	now := time.Now().UTC()
	own := &event.Finding{
		Rule: "net/LinkDown", Alert: "LinkDown", Verdict: event.VerdictFiring, Target: "tor-1", Team: "network", Domain: "default",
		Labels: event.LabelsOf(ls{"alertname": "LinkDown", "ifName": "eth0", "severity": "critical"}), Since: now.Add(-time.Minute), At: now,
	}
	if err := h.b.Publish(t.Context(), own); err != nil {
		t.Fatal(err)
	}
	h.post(3, list(one(ls{"alertname": "A", "severity": "warning", "weiß": "ä\"b"}), one(ls{"alertname": "B", "team": "network"})))
	for query, want := range map[string]string{
		"": "A,B,LinkDown", params("filter", `severity="critical"`): "LinkDown", params("filter", `severity=~"crit.*|warn.*"`): "A,LinkDown",
		params("filter", `severity!="critical"`): "A,B", params("filter", `severity=""`): "B", params("filter", `severity!~"w.*"`, "filter", `alertname!="B"`): "LinkDown",
		params("filter", `severity=warning`): "A", params("filter", `"weiß"="ä\"b"`): "A", params("filter", `alertname=~"Link"`): "",
		params("receiver", "team:network"): "B,LinkDown", params("receiver", "team:.*"): "A,B,LinkDown", params("receiver", "team"): "",
		params("receiver_matchers", `owner="x"`): "", params("receiver_matchers", `owner!="x"`): "A,B,LinkDown", params("unprocessed", "false", "muted", "FALSE"): "A,B,LinkDown",
	} {
		var all []alertWord
		h.want("GET", "/alerts?"+query, "", &all)
		if !slices.IsSortedFunc(all, func(a, b alertWord) int { return strings.Compare(a.Fingerprint, b.Fingerprint) }) {
			t.Errorf("%s: not by fingerprint", query)
		}
		got := names(all)
		if slices.Sort(got); strings.Join(got, ",") != want {
			t.Errorf("%s: %v, not %s", query, got, want)
		}
		for _, a := range all {
			set := model.LabelSet{}
			for k, v := range a.Labels {
				set[model.LabelName(k)] = model.LabelValue(v)
			}
			if a.Fingerprint != set.Fingerprint().String() || a.Annotations == nil || a.EndsAt.Before(now.Add(4*time.Minute)) || a.UpdatedAt.IsZero() {
				t.Errorf("%+v", a)
			}
		}
	}
	for _, query := range []string{params("filter", "a"), params("filter", `a=~"("`), params("receiver", "("), params("receiver_matchers", "x"), params("active", "perhaps"), params("filter", ""), params("filter", `{a="b"}`)} {
		for _, path := range []string{"/alerts", "/alerts/groups"} {
			if code, text := h.do("GET", path+"?"+query, ""); code != http.StatusBadRequest || !strings.HasPrefix(text, `"`) {
				t.Errorf("%s?%s: %d %s", path, query, code, text)
			}
		}
	}
	if code, text := h.do("PUT", "/alerts", ""); code/100 != 4 {
		t.Errorf("PUT: %d %s", code, text)
	}
	if code, text := h.do("GET", "/nothing", ""); code != http.StatusNotFound || !strings.Contains(text, "openapi.yaml") {
		t.Errorf("nothing: %d %s", code, text)
	}
}

// Alerts are grouped as the route tree says; without one by the team that owns them.
func TestGroups(t *testing.T) {
	for yaml, want := range map[string]string{
		quiet: "team:default map[team:default] A A;team:default map[team:no-such] B;team:network map[team:network] A",
		quiet + "route: {receiver: box, group_by: [alertname], routes: [{matchers: ['team=\"network\"'], receiver: [chat, owner], group_by: ['...']}]}\n": "box map[alertname:A] A A;box map[alertname:B] B;chat map[alertname:A n:3 team:network] A;team:network map[alertname:A n:3 team:network] A",
	} {
		h := serve(t, yaml)
		h.post(4, list(one(ls{"alertname": "A", "n": "1"}), one(ls{"alertname": "A", "n": "2"}), one(ls{"alertname": "A", "n": "3", "team": "network"}), one(ls{"alertname": "B", "team": "no-such"})))
		show := func(query string) string {
			var groups []struct {
				Labels, RouteLabels map[string]string
				Receiver            struct{ Name string }
				Alerts              []alertWord
			}
			h.want("GET", "/alerts/groups?"+query, "", &groups)
			var all []string
			for _, g := range groups {
				got := names(g.Alerts)
				slices.Sort(got)
				all = append(all, fmt.Sprintf("%s %v %s", g.Receiver.Name, g.Labels, strings.Join(got, " ")))
			}
			slices.Sort(all)
			return strings.Join(all, ";")
		}
		if got := show(""); got != want { // A team that nobody configured is told as the default team.
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if got := show(params("filter", "alertname=B", "receiver", "box|team:default")); strings.Count(got, ";") != 0 || !strings.HasSuffix(got, " B") {
			t.Errorf("filtered: %s", got)
		}
	}
}

// Status and receivers are what Alertmanager's tools expect, and name nothing secret.
func TestStatusAndReceivers(t *testing.T) {
	h := serve(t, "receivers: {box: {inbox: {}}, hook: {webhook: {url: \"http://127.0.0.1:9/secret-path\"}}}\nteams: {default: {receiver: box}}\n")
	var s struct {
		Cluster struct {
			Status string
			Peers  []any
		}
		Config      struct{ Original string }
		Uptime      time.Time
		VersionInfo map[string]string
	}
	h.want("GET", "/status", "", &s)
	if s.Cluster.Status != "disabled" || s.Cluster.Peers == nil || time.Since(s.Uptime) > time.Minute || s.VersionInfo["version"] != "0.34.2+kemi.0.4--test-" || len(s.VersionInfo) != 6 {
		t.Errorf("%+v", s)
	}
	if c := s.Config.Original; !strings.Contains(c, "name: hook") || strings.Contains(c, "secret") {
		t.Errorf("configuration:\n%s", c)
	}
	var all []struct{ Name string }
	h.want("GET", "/receivers", "", &all)
	if got := fmt.Sprint(all); got != "[{box} {hook} {log} {team:default}]" {
		t.Error(got)
	}
	h.want("GET", "/receivers?"+params("receiver_matchers", `owner="x"`), "", &all)
	if len(all) != 0 {
		t.Errorf("with a label: %v", all)
	}
	if code, _ := h.do("GET", "/receivers?"+params("receiver_matchers", `owner=~"("`), ""); code != http.StatusBadRequest {
		t.Errorf("bad matcher: %d", code)
	}
}
