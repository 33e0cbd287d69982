package alerting

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/bus/event"
)

// What routes say of waits, repeats and times is what holds for an incident: the shortest wait of its ways, each receiver
// again as often as one of its routes says, and times by which nobody is told only where every way has them.
func TestTheWaitsOfRoutesAreThoseOfTheirIncidents(t *testing.T) {
	h := &house{t: t}
	room, problems := New(h.options(`
receivers: {chat: {inbox: {}}, audit: {inbox: {}}}
teams: {default: {receiver: chat}, net: {receiver: chat}}
alerting: {group_wait: 7s}
time_intervals: [{name: nights, time_intervals: [{times: [{start_time: "00:00", end_time: "08:00"}]}]}]
route:
  routes:
    - {matchers: [kind="slow"], receiver: chat, group_wait: 2m, repeat_interval: 4h, mute_time_intervals: [nights]}
    - {matchers: [kind="both"], receiver: [chat, audit], group_wait: 2m, repeat_interval: 4h, continue: true}
    - {matchers: [kind="both"], receiver: audit, repeat_interval: 1h}
    - {matchers: [kind="plain"], receiver: team:net}
    - matchers: [kind="deep"]
      group_wait: 1m
      repeat_interval: 2h
      routes: [{matchers: [deep="yes"], receiver: audit}]
`, nil))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		labels map[string]string
		wait   time.Duration
		want   []Repeat
	}{
		{map[string]string{"kind": "slow"}, 2 * time.Minute, []Repeat{{"chat", 4 * time.Hour}}},
		{map[string]string{"kind": "both"}, 7 * time.Second, []Repeat{{"chat", 4 * time.Hour}, {"audit", time.Hour}}},
		{map[string]string{"kind": "plain"}, 7 * time.Second, nil},
		{map[string]string{"kind": "deep"}, time.Minute, nil}, // Its owner's way, which escalates.
		{map[string]string{"kind": "deep", "deep": "yes"}, time.Minute, []Repeat{{"audit", 2 * time.Hour}}},
		{nil, 7 * time.Second, nil},
	} {
		r := room.Ways().Route(event.LabelsOf(c.labels), "net")
		if r.GroupWait == nil || *r.GroupWait != c.wait {
			t.Errorf("%v: the first page waits %v, want %v", c.labels, r.GroupWait, c.wait)
		}
		if d := cmp.Diff(c.want, r.Repeats); d != "" {
			t.Errorf("%v: repeats (-want +got):\n%s", c.labels, d)
		}
	}
}

// Without a tree alerting.group_wait is the wait.
func TestWithoutRoutesTheWaitIsThatOfThePolicy(t *testing.T) {
	h := &house{t: t}
	room, problems := New(h.options(houseConfig, nil))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	if r := room.Ways().Route(nil, "net"); r.GroupWait != nil || r.Repeats != nil {
		t.Errorf("got %+v", r)
	}
}

// What a route's time intervals hold back says which route, which interval, and until when.
func TestWhatARouteHoldsBackNamesRouteIntervalAndEnd(t *testing.T) {
	h := &house{t: t}
	room, problems := New(h.options(`
receivers: {chat: {inbox: {}}, audit: {inbox: {}}}
teams: {default: {receiver: chat}}
time_intervals:
  - {name: nights, time_intervals: [{times: [{start_time: "22:00", end_time: "24:00"}]}]}
  - {name: office, time_intervals: [{times: [{start_time: "09:00", end_time: "17:00"}]}]}
route:
  receiver: chat
  routes:
    - {matchers: [alertname="Slow"], receiver: chat, mute_time_intervals: [nights]}
    - {matchers: [alertname="Old"], receiver: audit, active_time_intervals: [office]}
    - {matchers: [alertname="Both"], receiver: chat, mute_time_intervals: [nights], continue: true}
    - {matchers: [alertname="Both"], receiver: audit, active_time_intervals: [office]}
    - {matchers: [alertname="Half"], receiver: chat, mute_time_intervals: [nights], continue: true}
    - {matchers: [alertname="Half"], receiver: audit, mute_time_intervals: [office]}
`, nil))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string][]string{
		"Slow": {`muted: route > 1 {alertname="Slow"} (kemi.yaml:10) is mute in nights until 2026-11-22 00:00:00 UTC`},
		"Old":  {`muted: route > 2 {alertname="Old"} (kemi.yaml:11) speaks only in office, not before 2026-11-22 09:00:00 UTC`},
		"Both": {
			`muted: route > 3 {alertname="Both"} (kemi.yaml:12) is mute in nights until 2026-11-22 00:00:00 UTC`,
			`muted: route > 4 {alertname="Both"} (kemi.yaml:13) speaks only in office, not before 2026-11-22 09:00:00 UTC`,
		},
		"Half":  nil, // One of its ways is not mute at this time.
		"Other": nil,
	} {
		s := newStage(t, DefaultPolicy()) // It is 22:00.
		s.desk = NewDesk(DefaultPolicy(), room.Ways(), room.Holds())
		s.do("target srv-1 server")
		s.do("up srv-1")
		s.do("fire srv-1 " + name)
		s.do("+10s")
		var got []string
		for _, m := range s.newest("srv-1").Muted {
			got = append(got, m.Code+": "+m.Text)
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s (-want +got):\n%s", name, d)
		}
		if told := len(s.pages) > 0; told != (want == nil) {
			t.Errorf("%s: told %v, held back by %q", name, s.told(), got)
		}
	}
}
