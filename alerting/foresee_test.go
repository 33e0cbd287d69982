package alerting

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/internal/conf"
)

// What is foreseen of a team is what its escalation does, looked at every six hours of a year: a mistake when it never calls
// anybody, a note when it sometimes does not.
func TestWhatIsForeseenIsWhatHappens(t *testing.T) {
	now := time.Date(2026, 1, 5, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(rt *rapid.T) {
		// Everything begins and ends at a time that is looked at.
		date := func(label string) string {
			days := rapid.SampledFrom([]int{-40, -1, 0, 1, 9, 100, 300, 500}).Draw(rt, label)
			return now.AddDate(0, 0, days).Add(time.Duration(rapid.IntRange(0, 3).Draw(rt, label+" hour")) * 6 * time.Hour).Format("2006-01-02 15:04")
		}
		people := []string{"a", "b", "c"}
		var text strings.Builder
		text.WriteString("receivers: {box: {inbox: {}}}\npeople:\n")
		for _, p := range people {
			fmt.Fprintf(&text, "  %s: {ways: [box]", p)
			if rapid.Bool().Draw(rt, p+" leaves") {
				fmt.Fprintf(&text, ", leaves: %s", date("leaves"))
			}
			text.WriteString("}\n")
		}
		some := rapid.SliceOfNDistinct(rapid.SampledFrom(people), 1, 3, rapid.ID[string])
		text.WriteString("schedules: {s: {layers: [")
		for range rapid.IntRange(1, 2).Draw(rt, "layers") {
			fmt.Fprintf(&text, "{every: %s, start: 2026-01-05, people: [%s]", rapid.SampledFrom([]string{"day", "week", "12h"}).Draw(rt, "every"), strings.Join(some.Draw(rt, "turns"), ", "))
			if rapid.Bool().Draw(rt, "from") {
				fmt.Fprintf(&text, ", from: %s", date("from"))
			}
			if rapid.Bool().Draw(rt, "only") {
				text.WriteString(`, only: [{days: mon-fri, from: "06:00", to: "18:00"}]`)
			}
			text.WriteString("}, ")
		}
		fmt.Fprintf(&text, "], secondary: %s}}\nteams:\n  default: {receiver: box}\n", rapid.SampledFrom([]string{"next", "none"}).Draw(rt, "secondary"))
		fmt.Fprintf(&text, "  x: {schedule: s, members: [%s], manager: %s, escalation: [", strings.Join(some.Draw(rt, "members"), ", "), some.Draw(rt, "manager")[0])
		for range rapid.IntRange(1, 3).Draw(rt, "steps") {
			fmt.Fprintf(&text, "{to: [%s]}, ", rapid.SampledFrom([]string{"primary", "secondary", "team", "manager", "a", "primary, b"}).Draw(rt, "to"))
		}
		text.WriteString("]}\n")

		h := &house{t: t}
		room, problems := New(h.options(text.String(), nil))
		if len(problems) > 0 {
			rt.Fatalf("%v in\n%s", problems, text.String())
		}
		ever, always := false, true
		for at := now; at.Before(now.Add(foreseen)); at = at.Add(6 * time.Hour) {
			anybody := false
			for i := range room.people.teams["x"].Escalation {
				s, _ := room.people.Step("x", i, at)
				anybody = anybody || len(s.Who) > 0
			}
			ever, always = ever || anybody, always && anybody
		}
		wrong, notes := room.Foresee(now)
		says := func(all conf.Problems) bool { return strings.Contains(all.Error(), `team "x" calls nobody`) }
		if says(wrong) != !ever || says(notes) != (ever && !always) {
			rt.Fatalf("ever %v, always %v, but\n%v\n%v\nof\n%s", ever, always, wrong, notes, text.String())
		}
		for _, p := range append(wrong, notes...) {
			if p.Line == 0 || p.Do == "" {
				rt.Errorf("%v does not say where, or what to do", p)
			}
		}
	})
}
