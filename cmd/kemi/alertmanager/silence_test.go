package alertmanager_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/cmd/kemi/view"
)

// silenceWord is a silence as a client of Alertmanager reads it.
type silenceWord struct {
	ID, Comment, CreatedBy      string
	StartsAt, EndsAt, UpdatedAt time.Time
	Status                      struct{ State string }
	Matchers                    []struct {
		Name, Value      string
		IsRegex, IsEqual bool
	}
	Annotations map[string]string
}

// silence is a posted silence in JSON; matchers is a list in JSON.
func silence(id, matchers string, from, to time.Duration, comment string) string {
	return fmt.Sprintf(`{"id":%q,"matchers":%s,"startsAt":%s,"endsAt":%s,"createdBy":"jo","comment":%q}`, id, matchers, when(from), when(to), comment)
}

const onA = `[{"name":"alertname","value":"A","isRegex":false}]`

// add posts a silence and returns its id.
func (h *house) add(body string) string {
	h.t.Helper()
	var out struct{ SilenceID string }
	h.want("POST", "/silences", body, &out)
	return out.SilenceID
}

func (h *house) get(id string) (s silenceWord) {
	h.t.Helper()
	h.want("GET", "/silence/"+id, "", &s)
	return s
}

// A silence is there for whoever asks next, holds what it selects, and is over when it is expired.
func TestASilenceFromBeginningToEnd(t *testing.T) {
	h := serve(t, quiet)
	h.post(2, list(one(ls{"alertname": "A", "severity": "critical"}), one(ls{"alertname": "B"})))
	id := h.add(silence("", `[{"name":"alertname","value":"A|X.*","isRegex":true,"isEqual":true},{"name":"severity","value":"info","isRegex":false,"isEqual":false}]`, -time.Hour, time.Hour, "work"))
	if !regexp.MustCompile(`^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$`).MatchString(id) {
		t.Errorf("the id %s is no UUID", id)
	}
	s := h.get(id)
	if s.Status.State != "active" || s.CreatedBy != "jo" || s.Comment != "work" || len(s.Matchers) != 2 || !s.Matchers[0].IsRegex || !s.Matchers[0].IsEqual || s.Matchers[1].IsEqual ||
		time.Since(s.StartsAt) > time.Minute || s.Annotations == nil || s.UpdatedAt.IsZero() {
		t.Errorf("%+v", s) // It cannot start in the past, as with Alertmanager.
	}
	for query, want := range map[string]string{"": "A suppressed,B active", "silenced=false": "B active", "active=false": "A suppressed", "active=false&silenced=false": "", "inhibited=false": "A suppressed,B active"} {
		var all []alertWord
		h.want("GET", "/alerts?"+query, "", &all)
		var got []string
		for _, a := range all {
			got = append(got, a.Labels["alertname"]+" "+a.Status.State)
			if silenced := slices.Equal(a.Status.SilencedBy, []string{id}); silenced != (a.Status.State == "suppressed") {
				t.Errorf("%s is silenced by %v", a.Labels["alertname"], a.Status.SilencedBy)
			}
		}
		if slices.Sort(got); strings.Join(got, ",") != want {
			t.Errorf("%q: %v, not %s", query, got, want)
		}
	}
	h.want("DELETE", "/silence/"+id, "", nil)
	if s := h.get(id); s.Status.State != "expired" || time.Since(s.EndsAt) > time.Minute {
		t.Errorf("expired: %+v", s)
	}
	if all := h.alerts("active", "false"); len(all) != 0 {
		t.Errorf("still silenced: %v", names(all))
	}
	h.want("DELETE", "/silence/"+id, "", nil) // As with Alertmanager.
	for _, method := range []string{"GET", "DELETE"} {
		if code, _ := h.do(method, "/silence/8188b168-1332-4398-83a5-a9df5264d60d", ""); code != http.StatusNotFound {
			t.Errorf("%s of an unknown silence: %d", method, code)
		}
	}
}

// What can be changed in place keeps its id; what cannot is another silence, and the one before is over.
func TestAChangedSilence(t *testing.T) {
	h := serve(t, quiet)
	id := h.add(silence("", onA, 0, time.Hour, "one"))
	was := h.get(id)
	same := fmt.Sprintf(`{"id":%q,"matchers":%s,"startsAt":%q,"endsAt":%s,"createdBy":"jo","comment":"two"}`, id, onA, was.StartsAt.Format(time.RFC3339Nano), when(2*time.Hour))
	if got := h.add(same); got != id {
		t.Errorf("a later end made another silence: %s", got)
	}
	if s := h.get(id); s.Comment != "two" || s.EndsAt.Sub(was.EndsAt) < 59*time.Minute || s.Status.State != "active" {
		t.Errorf("%+v", s)
	}
	other := h.add(silence(id, `[{"name":"alertname","value":"B","isRegex":false}]`, 0, time.Hour, "three"))
	if other == id || h.get(id).Status.State != "expired" || h.get(other).Status.State != "active" {
		t.Errorf("other matchers: %s", other)
	}
	if again := h.add(silence(id, onA, 0, time.Hour, "four")); again == id || h.get(again).Status.State != "active" {
		t.Errorf("one that is over was changed: %s", again)
	}
	later := h.add(silence("", onA, time.Hour, 2*time.Hour, "later"))
	if got := h.add(silence(later, onA, 2*time.Hour, 3*time.Hour, "even later")); got != later || h.get(later).Status.State != "pending" {
		t.Errorf("one to come was moved: %s", got)
	}
	if got := h.add(silence(later, onA, -time.Hour, 3*time.Hour, "now")); got == later || h.get(got).Status.State != "active" || h.get(later).Status.State != "expired" {
		t.Errorf("one to come was moved to now: %s", got)
	}
	if code, text := h.do("POST", "/silences", silence("8188b168-1332-4398-83a5-a9df5264d60d", onA, 0, time.Hour, "x")); code != http.StatusNotFound {
		t.Errorf("a change of nothing: %d %s", code, text)
	}
	var all []silenceWord
	h.want("GET", "/silences?active=false", "", &all)
	if len(all) != 2 || slices.ContainsFunc(all, func(s silenceWord) bool { return s.Status.State != "expired" }) {
		t.Errorf("%d are over: %+v", len(all), all)
	}
	h.want("GET", "/silences?"+params("expired", "false", "filter", `alertname="B"`), "", &all)
	if len(all) != 1 || all[0].ID != other {
		t.Errorf("about B: %+v", all)
	}
}

// What cannot be a silence is refused with the reason.
func TestBadSilences(t *testing.T) {
	h := serve(t, quiet)
	for name, c := range map[string]struct{ body, says string }{
		"no JSON":       {"{", "read the request"},
		"no matchers":   {silence("", "[]", 0, time.Hour, "x"), "there are no matchers"},
		"half":          {silence("", `[{"name":"a","isRegex":false}]`, 0, time.Hour, "x"), "matcher 1 lacks"},
		"everything":    {silence("", `[{"name":"a","value":".*","isRegex":true}]`, 0, time.Hour, "x"), "empty value"},
		"bad regex":     {silence("", `[{"name":"a","value":"(","isRegex":true}]`, 0, time.Hour, "x"), "regular expression"},
		"past":          {silence("", onA, -2*time.Hour, -time.Hour, "x"), "past"},
		"backwards":     {silence("", onA, time.Hour, time.Minute, "x"), "before it starts"},
		"no comment":    {silence("", onA, 0, time.Hour, ""), "comment"},
		"endless":       {`{"matchers":` + onA + `,"createdBy":"jo","comment":"x"}`, "no end"},
		"two megabytes": {silence("", onA, 0, time.Hour, strings.Repeat("x", 3<<20)), "send it in parts"},
		"large":         {silence("", onA, 0, time.Hour, strings.Repeat("x", 3<<19)), "bytes of text"},
	} {
		code, text := h.do("POST", "/silences", c.body)
		var says string
		if err := json.Unmarshal([]byte(text), &says); code != http.StatusBadRequest || err != nil || !strings.Contains(says, c.says) {
			t.Errorf("%s: %d %.300s", name, code, text)
		}
	}
}

// Windows of the configuration, inhibition and mute times are shown as what holds an alert back.
func TestWhatElseHoldsPagesBackIsShown(t *testing.T) {
	h := serve(t, quiet+`
maintenance: [{name: rack, matchers: ['rack="7"'], starts: 2026-01-01 00:00, recurs: "FREQ=DAILY", lasts: 24h}]
inhibit_rules: [{name: down, source_matchers: ['alertname="HostDown"'], target_matchers: ['severity="warning"'], equal: [target]}]
time_intervals: [{name: always, time_intervals: [{years: ['2000:2100']}]}]
route: {receiver: box, routes: [{matchers: ['alertname="Muted"'], receiver: chat, mute_time_intervals: [always]}]}
`, &event.Target{ID: "old", Lifecycle: event.Maintenance}, &event.Target{ID: "on-old", Relations: map[string][]event.Need{event.RunsOn: {{"old"}}}})
	h.post(6, list(one(ls{"alertname": "HostDown", "target": "x"}), one(ls{"alertname": "Slow", "target": "x", "severity": "warning"}), one(ls{"alertname": "Slow", "target": "y", "severity": "warning"}),
		one(ls{"alertname": "Rack", "rack": "7"}), one(ls{"alertname": "Old", "target": "on-old"}), one(ls{"alertname": "Muted"})))
	source := h.alerts("filter", "alertname=HostDown")[0]
	var got []string
	for _, a := range h.alerts() {
		got = append(got, fmt.Sprintf("%s%s %s %s%s%s", a.Labels["alertname"], a.Labels["target"], a.Status.State, a.Status.SilencedBy, a.Status.InhibitedBy, a.Status.MutedBy))
	}
	slices.Sort(got)
	want := []string{"HostDownx active [][][]", "Muted suppressed [][][always]", "Oldon-old suppressed [][][old]", "Rack suppressed [config:rack][][]", "Slowx suppressed [][" + source.Fingerprint + "][]", "Slowy active [][][]"}
	if !slices.Equal(got, want) {
		t.Errorf("got  %q\nwant %q", got, want)
	}
	if got := names(h.alerts("inhibited", "false")); len(got) != 5 {
		t.Errorf("not inhibited: %v", got)
	}
	s := h.get("config:rack")
	if s.Status.State != "active" || !s.EndsAt.After(time.Now()) || s.EndsAt.Sub(s.StartsAt) != 24*time.Hour || s.Annotations["kemi_recurs"] == "" {
		t.Errorf("the window: %+v", s)
	}
	if code, text := h.do("DELETE", "/silence/config:rack", ""); code != http.StatusNotFound || !strings.Contains(text, "change it there") {
		t.Errorf("a window of the configuration was taken away: %d %s", code, text)
	}
	var groups []struct{ Receiver struct{ Name string } }
	h.want("GET", "/alerts/groups?muted=false", "", &groups)
	if len(groups) != 1 || groups[0].Receiver.Name != "box" {
		t.Errorf("groups that are not mute: %+v", groups)
	}
	h.want("GET", "/alerts/groups", "", &groups)
	if len(groups) != 2 {
		t.Errorf("groups: %+v", groups)
	}
}

// Programs change and expire what is listed: what this API could not bring back is shown by its id alone, and stays.
func TestWhatIsListedCanBeChangedAndBroughtBack(t *testing.T) {
	h := serve(t, quiet+`
maintenance:
  - {name: weekly, matchers: ['rack="7"'], starts: 2026-01-01 00:00, recurs: "FREQ=WEEKLY", lasts: 1h}
  - {name: once, matchers: ['rack="8"'], starts: 2026-01-01 00:00, ends: 2100-01-01 00:00}
`)
	now := time.Now().UTC()
	nightly := &event.Silence{
		ID: "nightly", Kind: event.PlainSilence, Matchers: []event.Matcher{{Name: "alertname", Value: "A"}}, StartsAt: now.Add(-time.Minute),
		Recurs: "FREQ=DAILY", LastsSeconds: 3600, Timezone: "UTC", By: "jo", Comment: "c", Updated: now,
	}
	if err := h.b.Publish(t.Context(), nightly); err != nil {
		t.Fatal(err)
	}
	h.model.Await(t.Context(), func(m *view.State) bool { return m.Silence("nightly") != nil })
	plain := h.add(silence("", onA, 0, time.Hour, "x"))
	var all []silenceWord
	h.want("GET", "/silences", "", &all)
	if len(all) != 1 || all[0].ID != plain {
		t.Errorf("listed: %+v", all)
	}
	for _, id := range []string{"config:weekly", "config:once", "nightly"} {
		if s := h.get(id); s.ID != id {
			t.Errorf("%s: %+v", id, s)
		}
	}
	if code, text := h.do("DELETE", "/silence/nightly", ""); code != http.StatusBadRequest || !strings.Contains(text, "use kemi silence expire") {
		t.Errorf("what recurs was taken away: %d %s", code, text)
	}
	if s := h.get("nightly"); s.Status.State == "expired" {
		t.Errorf("it is over: %+v", s)
	}
}

// Whoever edits a silence by an API that cannot say everything keeps what it cannot say.
func TestAnEditKeepsWhatItCannotSay(t *testing.T) {
	h := serve(t, quiet)
	now := time.Now().UTC()
	window := &event.Silence{
		ID: event.ComputeID("maintenance", "deploy"), Kind: event.MaintenanceWindow, Matchers: []event.Matcher{{Name: "alertname", Value: "A"}},
		StartsAt: now.Add(-time.Minute), EndsAt: now.Add(time.Hour), Inherit: true, By: "ci", Comment: "v1", Annotations: map[string]string{"name": "deploy", "ticket": "4711"}, Updated: now,
	}
	plain := &event.Silence{
		ID: "plain", Kind: event.PlainSilence, Matchers: []event.Matcher{{Name: "alertname", Value: "A"}},
		StartsAt: now.Add(-time.Minute), EndsAt: now.Add(time.Hour), By: "jo", Comment: "c", Annotations: map[string]string{"ticket": "1", "ended_by": "sun"}, Updated: now,
	}
	if err := h.b.Publish(t.Context(), window, plain); err != nil {
		t.Fatal(err)
	}
	stored := func(id string) (s *event.Silence) {
		t.Helper()
		h.model.Await(t.Context(), func(m *view.State) bool { s = m.Silence(id); return s != nil })
		return s
	}
	stored(window.ID)
	stored("plain")
	edit := func(id, matchers, more string) string {
		t.Helper()
		return h.add(fmt.Sprintf(`{"id":%q,"matchers":%s,"startsAt":%q,"endsAt":%s,"createdBy":"sun","comment":"edited"%s}`, id, matchers, h.get(id).StartsAt.Format(time.RFC3339Nano), when(2*time.Hour), more))
	}
	const onB = `[{"name":"alertname","value":"B","isRegex":false}]`
	for step, c := range []struct {
		matchers, more string
		annotations    map[string]string
	}{
		{onA, "", map[string]string{"name": "deploy", "ticket": "4711"}},
		{onB, "", map[string]string{"name": "deploy", "ticket": "4711"}}, // Its name is its id.
		{onA, `,"annotations":{"kemi_kind":"maintenance","kemi_recurs":"","ticket":"4712"}`, map[string]string{"name": "deploy", "ticket": "4712"}},
		{onA, `,"annotations":{}`, map[string]string{"name": "deploy"}},
	} {
		if id := edit(window.ID, c.matchers, c.more); id != window.ID {
			t.Fatalf("step %d: the window is %s now", step, id)
		}
		if s := stored(window.ID); s.Kind != event.MaintenanceWindow || !s.Inherit || s.Comment != "edited" || !maps.Equal(s.Annotations, c.annotations) {
			t.Errorf("step %d: %+v", step, s)
		}
	}
	h.want("DELETE", "/silence/"+window.ID, "", nil)
	if id := edit(window.ID, onB, ""); id != window.ID || h.get(id).Status.State != "active" {
		t.Errorf("the window that was over is %s", id)
	}
	id := edit("plain", onB, "")
	if s := stored(id); id == "plain" || !maps.Equal(s.Annotations, map[string]string{"ticket": "1"}) {
		t.Errorf("%s: %+v", id, s)
	}
}
