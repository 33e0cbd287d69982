package alerting

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/alerting/hush"
)

// routeAsleep tells chat at any time, and audit, the team oncall and chat by ways that are mute from 21:00 to
// 23:00 each day; scripts begin at 22:00.
func routeAsleep() Route {
	nights := []string{"nights"}
	return Route{
		Receivers: []string{"chat", "audit"}, Team: "oncall", Channel: []string{"oncall-hook"},
		Repeats: []Repeat{{"chat", 40 * time.Minute}, {"audit", 2 * time.Hour}},
		Ways: []Way{
			{Receiver: "chat"},
			{Way: hush.Way{Mute: nights}, Receiver: "chat"},
			{Way: hush.Way{Mute: nights}, Receiver: "audit"},
			{Way: hush.Way{Mute: nights}, Team: "oncall", Channel: []string{"oncall-hook"}},
		},
	}
}

// routeOfShifts goes to the team oncall from 21:00 to 23:00, and to the team gap at other times.
func routeOfShifts() Route {
	nights := []string{"nights"}
	return Route{
		Team: "gap", Channel: []string{"gap-hook"},
		Ways: []Way{
			{Way: hush.Way{Mute: nights}, Team: "gap", Channel: []string{"gap-hook"}},
			{Way: hush.Way{Active: nights}, Team: "oncall", Channel: []string{"oncall-hook"}},
		},
	}
}

// What a configuration says of mute times holds for each of its ways: a muted route's receiver and team are told by no
// other route, and when their time is over they are, because of that.
func TestAMutedRouteIsToldByNoOther(t *testing.T) {
	h := &house{t: t}
	room, problems := New(h.options(`
receivers: {chat: {inbox: {}}, pager: {inbox: {}}, desk: {inbox: {}}}
teams: {default: {receiver: desk}, net: {receiver: desk}}
time_intervals: [{name: nights, time_intervals: [{times: [{start_time: "22:00", end_time: "23:00"}]}]}]
route:
  receiver: chat
  routes:
    - {matchers: [alertname="Slow"], receiver: chat, continue: true}
    - {matchers: [alertname="Slow"], receiver: [pager, "team:net"], mute_time_intervals: [nights]}
`, nil))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	s := newStage(t, DefaultPolicy()) // It is 22:00.
	s.desk = NewDesk(DefaultPolicy(), room.Ways(), room.Holds())
	for _, line := range []string{"target srv-1 server", "up srv-1", "fire srv-1 Slow", "+59m", "+2m"} {
		s.do(line)
	}
	var got []string
	for _, p := range s.pages {
		got = append(got, p.Created.Format("15:04")+" "+whoOf(p)+" "+p.Reason.Code)
	}
	want := []string{"22:00 chat " + ReasonAnswers, "23:00 pager " + ReasonUnmuted, "23:00 desk " + ReasonUnmuted}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("told (-want +got):\n%s", d)
	}
}
