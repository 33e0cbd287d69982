package alertmanager_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/cmd/kemi/alertmanager"
)

// What Alertmanager's own acceptance cases ask of the API (test/with_api_v2/acceptance), asked of Kemi. What they ask of
// group_wait, repeat_interval and webhooks has no counterpart: Kemi groups by cause and tells once.

// Label names and values are any UTF-8, and can be asked for as they are, quoted, or escaped.
func TestLabelsOfAnyAlphabet(t *testing.T) {
	h := serve(t, quiet+"route: {receiver: box, routes: [{matchers: ['foo🙂=bar'], receiver: chat, group_by: ['foo🙂']}]}\n")
	labels := ls{"alertname": "A", "a": "a", "00": "b", "Σ": "c", "🙂": "dΘ", "foo🙂": "bar", "with space": `"quoted" \ {x}`}
	h.post(2, list(one(labels), one(ls{"alertname": "B", "a": "a"})))
	for _, filters := range [][]string{
		{"00=b", "Σ=c", `"\xf0\x9f\x99\x82"=dΘ`}, {"🙂=dΘ"}, {`"🙂"=~"d."`}, {`"with space"="\"quoted\" \\ {x}"`}, {"foo🙂=bar", "a=a"}, {`foo🙂!=""`},
	} {
		var query []string
		for _, f := range filters {
			query = append(query, "filter", f)
		}
		all := h.alerts(query...)
		if len(all) != 1 || fmt.Sprint(all[0].Labels) != fmt.Sprint(map[string]string(labels)) {
			t.Errorf("%q: %+v", filters, all)
		}
		var groups []struct {
			Labels   map[string]string
			Receiver struct{ Name string }
			Alerts   []alertWord
		}
		h.want("GET", "/alerts/groups?"+params(query...), "", &groups)
		if len(groups) != 1 || groups[0].Receiver.Name != "chat" || groups[0].Labels["foo🙂"] != "bar" || len(groups[0].Alerts) != 1 {
			t.Errorf("groups %q: %+v", filters, groups)
		}
	}
	id := h.add(silence("", `[{"name":"fooΣ","value":"bar🙂","isRegex":false,"isEqual":true}]`, 0, time.Hour, "x"))
	var all []silenceWord
	h.want("GET", "/silences?"+params("filter", "fooΣ=bar🙂"), "", &all)
	if len(all) != 1 || all[0].ID != id || all[0].Matchers[0].Name != "fooΣ" || all[0].Matchers[0].Value != "bar🙂" {
		t.Errorf("%+v", all)
	}
}

// Silences and inhibition show at once in what is listed, and are gone at once.
func TestStatusIsOfNow(t *testing.T) {
	h := serve(t, quiet+"inhibit_rules: [{source_match: {severity: critical}, target_match: {severity: warning}, equal: [alertname]}]\n")
	status := func() (all []string) {
		t.Helper()
		for _, a := range h.alerts() {
			all = append(all, fmt.Sprintf("%s %s %d %d", a.Labels["severity"], a.Status.State, len(a.Status.SilencedBy), len(a.Status.InhibitedBy)))
		}
		slices.Sort(all)
		return all
	}
	want := func(lines ...string) {
		t.Helper()
		if got := status(); !slices.Equal(got, lines) {
			t.Errorf("%q, not %q", got, lines)
		}
	}
	h.post(1, list(one(ls{"alertname": "T", "severity": "warning"}, "startsAt", when(0), "endsAt", when(5*time.Minute))))
	want("warning active 0 0")
	id := h.add(silence("", `[{"name":"alertname","value":"T","isRegex":false}]`, 0, time.Hour, "a"))
	want("warning suppressed 1 0")
	h.post(2, list(one(ls{"alertname": "T", "severity": "critical"})))
	want("critical suppressed 1 0", "warning suppressed 1 1")
	for query, n := range map[string]int{
		"": 2, "silenced=false": 0, "inhibited=false": 1, "active=false": 2, "silenced=true&inhibited=true&active=true&unprocessed=false": 2, "receiver=team:default": 2, "receiver=team:net.*": 0,
	} {
		var all []alertWord
		if h.want("GET", "/alerts?"+query, "", &all); len(all) != n {
			t.Errorf("%s: %d", query, len(all))
		}
		var groups []struct{ Alerts []alertWord }
		h.want("GET", "/alerts/groups?"+query, "", &groups)
		in := 0
		for _, g := range groups {
			in += len(g.Alerts)
		}
		if in != n {
			t.Errorf("groups %s: %d", query, in)
		}
	}
	h.want("DELETE", "/silence/"+id, "", nil)
	want("critical active 0 0", "warning suppressed 0 1")
	h.post(1, list(one(ls{"alertname": "T", "severity": "critical"}, "endsAt", when(0))))
	want("warning active 0 0")
}

// Several who say the same alert are merged: the earliest beginning, the latest end, the texts that came last; what was
// over and comes back begins anew.
func TestOverlappingAlertsAreMerged(t *testing.T) {
	for name, ends := range map[string]bool{"with ends": true, "without": false} {
		h := serve(t, quiet)
		began := time.Now()
		push := func(n int, start time.Duration, text string) {
			t.Helper()
			more := []string{"startsAt", when(start), "annotations", fmt.Sprintf(`{"text":%q}`, text)}
			if ends {
				more = append(more, "endsAt", when(start+time.Hour))
			}
			h.post(n, list(one(ls{"alertname": "T"}, more...)))
		}
		// shown waits until the text is the one that came last.
		shown := func(text string) alertWord {
			t.Helper()
			var a alertWord
			within(t, 10*time.Second, text, func() error {
				if a = h.alerts()[0]; a.Annotations["text"] != text {
					return fmt.Errorf("%s", a.Annotations["text"])
				}
				return nil
			})
			return a
		}
		push(1, -10*time.Minute, "v1")
		push(1, -20*time.Minute, "v2") // Somebody else noticed it earlier.
		if a := shown("v2"); began.Sub(a.StartsAt).Round(time.Minute) != 20*time.Minute {
			t.Errorf("%s: began at %s", name, a.StartsAt)
		}
		push(1, -5*time.Minute, "v3")
		a := shown("v3")
		if began.Sub(a.StartsAt).Round(time.Minute) != 20*time.Minute || ends && a.EndsAt.Sub(began).Round(time.Minute) != 55*time.Minute {
			t.Errorf("%s: from %s to %s", name, a.StartsAt, a.EndsAt)
		}
		h.post(0, list(one(ls{"alertname": "T"}, "startsAt", when(-20*time.Minute), "endsAt", when(0))))
		push(1, -time.Minute, "v4")
		if a := shown("v4"); began.Sub(a.StartsAt).Round(time.Minute) != time.Minute {
			t.Errorf("%s: it came back, and began at %s", name, a.StartsAt)
		}
	}
}

// What says no end is over after the resolve timeout of the configuration, counted from when it was said last.
func TestTheResolveTimeoutIsConfigured(t *testing.T) {
	h := build(t, plan{yaml: quiet, limits: alertmanager.Config{MaxFiring: 10, MaxKnown: 10, ResolveTimeout: 2 * time.Second}})
	<-h.model.Ready()
	h.post(1, list(one(ls{"alertname": "A"})))
	if left := time.Until(h.alerts()[0].EndsAt); left > 2*time.Second {
		t.Errorf("it ends in %s", left)
	}
	h.await(0)
	var s struct{ Config struct{ Original string } }
	if h.want("GET", "/status", "", &s); !strings.Contains(s.Config.Original, "resolve_timeout: 2s") {
		t.Errorf("%s", s.Config.Original)
	}
}

// Silences are listed in Alertmanager's order: those in force by their end, those to come by their beginning, those that
// are over the last one first.
func TestSilencesAreSorted(t *testing.T) {
	h := serve(t, quiet)
	var over []string
	for i := range 2 {
		id := h.add(silence("", onA, 0, time.Hour, fmt.Sprint("over-", i)))
		h.want("DELETE", "/silence/"+id, "", nil)
		over = append(over, h.get(id).Comment)
	}
	for i, span := range [][2]time.Duration{{5 * time.Hour, 6 * time.Hour}, {0, 3 * time.Hour}, {4 * time.Hour, 9 * time.Hour}, {0, 2 * time.Hour}} {
		h.add(silence("", onA, span[0], span[1], fmt.Sprint(i)))
	}
	var all []silenceWord
	h.want("GET", "/silences", "", &all)
	var got []string
	for _, s := range all {
		got = append(got, s.Comment)
	}
	if want := []string{"3", "1", "2", "0", over[1], over[0]}; !slices.Equal(got, want) {
		t.Errorf("%v, not %v", got, want)
	}
	for query, n := range map[string]int{"active=false": 4, "pending=false": 4, "expired=false": 4, "active=false&pending=false": 2, "active=false&pending=false&expired=false": 0} {
		if h.want("GET", "/silences?"+query, "", &all); len(all) != n {
			t.Errorf("%s: %d", query, len(all))
		}
	}
	if code, text := h.do("GET", "/silences?expired=perhaps", ""); code != http.StatusBadRequest {
		t.Errorf("%d %s", code, text)
	}
}

// Every object has the fields that Alertmanager's description of its API requires.
func TestRequiredFieldsAreThere(t *testing.T) {
	h := serve(t, quiet)
	h.post(1, list(one(ls{"alertname": "A"})))
	id := h.add(silence("", onA, 0, time.Hour, "x"))
	for path, fields := range map[string]string{
		"/status": "cluster config uptime versionInfo", "/receivers": "name", "/alerts": "labels annotations receivers fingerprint startsAt updatedAt endsAt status",
		"/alerts/groups": "receiver labels alerts", "/silences": "id status updatedAt matchers startsAt endsAt createdBy comment", "/silence/" + id: "id status updatedAt matchers startsAt endsAt createdBy comment",
	} {
		code, text := h.do("GET", path, "")
		var one map[string]json.RawMessage
		if strings.HasPrefix(text, "[") {
			var all []map[string]json.RawMessage
			if json.Unmarshal([]byte(text), &all) != nil || len(all) == 0 {
				t.Errorf("%s: %s", path, text)
				continue
			}
			one = all[0]
		} else if err := json.Unmarshal([]byte(text), &one); err != nil {
			t.Errorf("%s: %v", path, err)
		}
		for _, field := range strings.Fields(fields) {
			if value := one[field]; code != http.StatusOK || value == nil || string(value) == "null" {
				t.Errorf("%s: %d, %s is %q", path, code, field, value)
			}
		}
	}
}
