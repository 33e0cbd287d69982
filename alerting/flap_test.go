package alerting

import (
	"slices"
	"strings"
	"testing"
)

// What comes and goes faster than its page waits is told once all the same, when it is known to flap, and that it is over
// when it was calm: an alert, and a target; also when another process takes over in between.
func TestWhatFlapsFasterThanItsPageWaitsIsTold(t *testing.T) {
	for _, c := range []struct {
		name, before string
		once         []string
	}{
		{"an alert", "target core-1 switch nochecks team=oncall", []string{"fire core-1 Noisy", "+3s", "resolve core-1 Noisy", "+2s"}},
		{"a target", "target core-1 switch team=oncall", []string{"down core-1", "fire core-1 TargetDown", "+20s", "up core-1", "resolve core-1 TargetDown", "+10s"}},
	} {
		for restart := range 6 { // After so many times; 0 is never.
			policy := DefaultPolicy()
			if c.name == "a target" {
				policy.GroupWait *= 6
			}
			s := newStage(t, policy)
			s.do(c.before)
			for n := range 6 {
				for _, line := range c.once {
					s.do(line)
				}
				if n+1 == restart {
					s.restart()
				}
			}
			s.do("+20m")
			var pages []string
			for _, line := range strings.Split(s.said.String(), "\n") {
				if _, page, is := strings.Cut(line, " page "); is {
					pages = append(pages, strings.Join(strings.Fields(page)[1:3], " "))
				}
			}
			if !slices.Equal(pages, []string{"firing to", "resolved to"}) {
				t.Errorf("%s, restart %d: %q\n%s", c.name, restart, pages, s.said.String())
			}
		}
	}
}
