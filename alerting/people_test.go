package alerting

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/bus/event"
)

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
