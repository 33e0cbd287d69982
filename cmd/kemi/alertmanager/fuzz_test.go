package alertmanager

import (
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"kemi.dev/kemi/alerting/hush"
	"kemi.dev/kemi/bus/event"
)

// Whatever is posted is refused, or becomes a finding that the bus can carry and that is true at its time.
func FuzzAlert(f *testing.F) {
	for _, seed := range []string{
		`{"labels":{"alertname":"A","instance":"x:1"},"annotations":{"summary":"s"},"startsAt":"2026-11-22T06:00:00.000Z","endsAt":"2026-11-22T07:00:00Z","generatorURL":"http://x/"}`,
		`{"labels":{"alertname":"A","b":""},"startsAt":"1970-01-01T00:00:00Z","endsAt":""}`, `{"labels":{"":"x"}}`, `{}`, `null`,
		`{"labels":{"alertname":"A"},"endsAt":"2026-11-22T05:00:00Z"}`, `{"labels":{"alertname":"A"},"startsAt":"9999-12-31T23:59:59Z"}`, `{"labels":{"alertname":"\ud800"},"startsAt":"0001-01-01T00:00:00Z"}`,
	} {
		f.Add([]byte(seed))
	}
	now := time.Date(2026, 11, 22, 6, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, data []byte) {
		var p *postableAlert
		if json.Unmarshal(data, &p) != nil || p == nil {
			return
		}
		j := judgement{about: func(string) *event.Target { return nil }, was: func(string) last { return last{} }, from: "a test", now: now, resolve: 5 * time.Minute}
		got, _, err := j.finding(p)
		if err != nil {
			if field, _, _ := strings.Cut(err.Error(), ":"); !slices.Contains([]string{"labels", "annotations", "generatorURL", "endsAt"}, field) {
				t.Fatalf("no field is named: %v", err)
			}
			return
		}
		if got.Alert == "" || got.Since.After(now) || !got.At.Equal(now) || (got.Verdict == event.VerdictFiring) != got.Until.After(now) {
			t.Fatalf("%+v of %s", got, data)
		}
		stored, err := got.Encode()
		if err != nil {
			t.Fatalf("%v: %s", err, data)
		}
		var back event.Finding
		if err := back.Decode(stored); err != nil || back.Key() != got.Key() || back.Identity() != got.Identity() {
			t.Fatalf("%v: %s came back as %+v", err, stored, back)
		}
	})
}

// Whatever is posted as a silence is refused, or is one that holds what it says, and is read as it was said.
func FuzzSilence(f *testing.F) {
	f.Add([]byte(`{"matchers":[{"name":"a","value":"b","isRegex":false,"isEqual":true}],"startsAt":"2026-11-22T06:00:00Z","endsAt":"2026-11-22T07:00:00Z","createdBy":"jo","comment":"c"}`))
	f.Add([]byte(`{"id":"x","matchers":[{"name":"a","value":"(b|c).*","isRegex":true}],"endsAt":"2026-11-23T07:00:00Z","createdBy":"jo","comment":"c","annotations":{"k":"v"}}`))
	f.Add([]byte(`{"matchers":[null],"endsAt":"x"}`))
	now := time.Date(2026, 11, 22, 6, 30, 0, 0, time.UTC)
	f.Fuzz(func(t *testing.T, data []byte) {
		var p postableSilence
		if json.Unmarshal(data, &p) != nil {
			return
		}
		s, err := wanted(&p)
		if err != nil {
			return
		}
		say, err := change(s, nil, "8188b168-1332-4398-83a5-a9df5264d60d", now)
		if err != nil {
			return
		}
		set, _ := hush.New(hush.Config{})
		if len(say) != 1 || set.Put(s) != nil || s.StartsAt.Before(now) {
			t.Fatalf("%+v of %s", s, data)
		}
		text, err := json.Marshal(silenceWord(s, now))
		if err != nil {
			t.Fatal(err)
		}
		var again postableSilence
		if err := json.Unmarshal(text, &again); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		if back, err := wanted(&again); err != nil || !inPlace(back, s, now) {
			t.Fatalf("%v: %s is not what %s was", err, text, data)
		}
	})
}

// Whatever is posted as a list is one that cannot be read at all, or each of its alerts is read, or named with its field.
func FuzzList(f *testing.F) {
	for _, seed := range []string{
		`[{"labels":{"alertname":"A"}},{"labels":{"alertname":1}},null,7,{"startsAt":"yesterday"},{"endsAt":8},{"ANNOTATIONS":[]}]`,
		`[]`, `null`, `{}`, `[`, `[{"labels":{"a":"b"},"labels":"x"}]`, `[[]]`, `[{"generatorURL":{}}]`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		posted, mistakes, err := alertsOf(data)
		var each []json.RawMessage
		if bad := json.Unmarshal(data, &each); (bad == nil) != (err == nil) {
			t.Fatalf("%v and %v of %s", bad, err, data)
		}
		if err == nil && len(posted) != len(each) {
			t.Fatalf("%d of %d: %s", len(posted), len(each), data)
		}
		for i, what := range mistakes {
			var p postableAlert
			if json.Unmarshal(each[i], &p) == nil || what == nil {
				t.Fatalf("%v of %s", what, each[i])
			}
		}
	})
}

// Whatever is asked for is refused, or a filter that can be asked of an alert.
func FuzzFilter(f *testing.F) {
	for _, seed := range []string{`filter=a%3D%22b%22&receiver=team%3A.*`, `filter=%7Ba%3Db%7D&active=no`, `receiver=(`, `filter="wei%C3%9F"%3D~x&receiver_matchers=a!%3Db`, `active=FALSE&silenced=`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, query string) {
		q, err := url.ParseQuery(query)
		if err != nil {
			return
		}
		got, err := readFilter(q)
		if err != nil {
			var e *refusal
			if !errors.As(err, &e) || e.code != http.StatusBadRequest {
				t.Fatalf("%v of %s", err, query)
			}
			return
		}
		got.takes("team:network")
		matches(got.matchers, func(string) string { return "x" })
	})
}
