package alerting

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/bus/event"
)

// Who has left is not called, whatever list still names them.
func TestWhoHasLeftIsNotCalled(t *testing.T) {
	h := &house{t: t}
	room, problems := New(h.options(`
receivers: {pager: {inbox: {}}, chat: {inbox: {}}}
people:
  jo: {ways: [pager]}
  sun: {ways: [pager], leaves: 2026-02-01 09:00, timezone: Asia/Seoul}
  boss: {ways: [pager], leaves: 2026-02-01}
schedules:
  net: {timezone: Asia/Seoul, layers: [{every: week, start: 2026-01-05 09:00, people: [jo]}]}
teams:
  default: {receiver: chat}
  net: {receiver: chat, schedule: net, members: [jo, sun], manager: boss, escalation: [{to: [team]}, {after: 1m, to: [manager]}, {after: 2m, to: [sun]}]}
  web: {members: [sun], escalation: [{to: [team]}]}
`, nil))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	gone := time.Date(2026, 2, 1, 0, 0, 0, 0, time.UTC) // Nine o'clock in Seoul.
	for _, c := range []struct {
		team string
		step int
		at   time.Time
		want string
	}{
		{"net", 0, gone.Add(-1), "pager/jo pager/sun chat"},
		{"net", 0, gone, "pager/jo chat"},
		{"net", 1, gone.Add(-10 * time.Hour), "pager/boss"},
		{"net", 1, gone, ""},
		{"net", 2, gone.Add(-1), "pager/sun"},
		{"net", 2, gone, ""},
		{"web", 0, gone.Add(-1), "pager/sun"},
		{"web", 0, gone, ""},
	} {
		if s, _ := room.Ways().Step(c.team, c.step, c.at); strings.Join(s.Who, " ") != c.want {
			t.Errorf("%s, step %d at %s: %q", c.team, c.step, c.at, s.Who)
		}
	}
}

// What a configuration says is how a team is told: step by step, by urgency, by route.
func TestATeamIsToldAsItsConfigurationSays(t *testing.T) {
	h := &house{t: t}
	room, problems := New(h.options(`
receivers: {pager: {inbox: {}}, chat: {inbox: {}}, audit: {inbox: {}}}
people:
  jo: {ways: [pager, chat]}
  sun: {ways: [pager]}
  boss: {ways: [chat]}
schedules:
  net: {layers: [{every: week, start: 2026-01-05 09:00, people: [jo, sun]}]}
teams:
  default: {receiver: chat}
  net: {receiver: chat, schedule: net, members: [jo, sun], manager: boss}
  web: {members: [sun], urgency: notify}
route:
  receiver: owner
  routes:
    - {matchers: [audit="yes"], receiver: audit, continue: true}
    - {matchers: [site="lab"], receiver: [owner, audit]}
`, nil))
	if err := problems.Err(); err != nil {
		t.Fatal(err)
	}
	now := time.Date(2026, 1, 13, 12, 0, 0, 0, time.UTC) // The second week: sun's.
	ways := room.Ways()
	var got []string
	for n := 0; ; n++ {
		s, ok := ways.Step("net", n, now)
		if !ok {
			break
		}
		got = append(got, s.After.String()+" "+strings.Join(s.Who, " ")+": "+s.Text)
	}
	want := []string{
		"0s pager/sun: the primary sun",
		"5m0s pager/sun: the primary sun",
		"10m0s pager/jo: the secondary jo",
		"20m0s pager/jo pager/sun chat: jo, sun, chat",
		"30m0s chat/boss: the manager boss",
	}
	if d := cmp.Diff(want, got); d != "" {
		t.Errorf("the escalation of net (-want +got):\n%s", d)
	}

	desk := NewDesk(DefaultPolicy(), ways, nil)
	for _, c := range []struct {
		team, severity string
		labels         map[string]string
		want           string
	}{
		{"net", "critical", nil, "page: pager/sun"},
		{"net", "warning", nil, "notify: chat"},
		{"net", "info", nil, "log: "},
		{"net", "warning", map[string]string{"audit": "yes"}, "notify: audit"},
		{"net", "info", map[string]string{"site": "lab"}, "log: audit"},
		{"web", "critical", nil, "notify: pager/sun"}, // It has no place to read: whoever there is hears of it.
		{"nobody", "critical", nil, "page: chat"},
	} {
		urgency, _ := ways.Urgency(c.team, c.severity, now)
		who, _ := desk.first(ways.Route(event.LabelsOf(c.labels), c.team), urgency, now)
		if got := string(urgency) + ": " + strings.Join(who, " "); got != c.want {
			t.Errorf("%s, %s %v: %s, want %s", c.team, c.severity, c.labels, got, c.want)
		}
	}
	if who := ways.Person("jo"); who != "pager/jo" || ways.Person("nobody") != "" {
		t.Errorf("jo is told by %q", who)
	}
	if next := room.people.after("pager", "jo"); next != "chat" || room.people.after("chat", "jo") != "" || room.people.after("pager", "nobody") != "" {
		t.Errorf("after the pager jo is told by %q", next)
	}
}
