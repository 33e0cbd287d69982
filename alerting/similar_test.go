package alerting

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

// racks makes VMs on servers in racks behind one core switch, all of which answer.
func racks(s *stage, vms int, team string) (ids []string) {
	s.do("target core-1 switch")
	for i := range 3 {
		s.do(fmt.Sprintf("target tor-%d switch core-1", i))
	}
	for i := range 6 {
		s.do(fmt.Sprintf("target srv-%d server tor-%d", i, i%3))
	}
	for i := range vms {
		ids = append(ids, fmt.Sprintf("vm-%d", i))
		s.do(fmt.Sprintf("target vm-%d vm srv-%d team=%s", i, i%6, team))
	}
	return ids
}

// fired is how often somebody was told that something fires.
func (s *stage) fired() (n int) {
	for _, p := range s.pages {
		if p.Kind == event.PageFiring {
			n++
		}
	}
	return n
}

// answer lets a second pass, in which whoever is asked answers.
func (s *stage) answer(d time.Duration) {
	for end := s.now.Add(d); s.now.Before(end); {
		s.now = s.now.Add(time.Second)
		out := s.desk.Step(s.now)
		s.take(out)
		for _, v := range out.Verify {
			s.verdict(v.Target.ID, event.VerdictOK)
		}
	}
}

// However many fire however fast, on targets that have relations and answer: at most three single pages and one for all, or
// as many as there are when they are few; all of it is over when it is over, with restarts in between.
func TestManyAtOnceAreFewPages(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := newStage(t, DefaultPolicy())
		n := rapid.IntRange(1, 40).Draw(r, "vms")
		ids := racks(s, n, "net")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1))
		spread := rapid.IntRange(1, 40).Draw(r, "seconds")
		at := map[int][]string{}
		for _, id := range ids {
			k := random.IntN(spread)
			at[k] = append(at[k], id)
		}
		restart := rapid.IntRange(-1, spread+20).Draw(r, "restart")
		for k := range spread + 30 {
			for _, id := range at[k] {
				s.do("fire " + id + " AppErrors")
			}
			s.answer(time.Second)
			if k == restart {
				s.lose(loss(rapid.IntRange(0, 2).Draw(r, "loss")))
				s.restart()
			}
		}
		if got := s.fired(); got > min(n, 4) || n < 4 && got != n {
			r.Fatalf("%d alerts within %d s were %d pages\n%s", n, spread, got, s.said.String())
		}
		for _, id := range ids {
			s.do("resolve " + id + " AppErrors")
		}
		s.answer(2 * time.Minute)
		s.promises()
		if s.desk.Open() != 0 || t.Failed() {
			r.Fatalf("%d incidents are left\n%s", s.desk.Open(), s.said.String())
		}
	})
}

// More than a record lists, acknowledged, and then a restart long after: nobody is called again, what runs on them is still
// explained by them, and everything ends.
func TestManyAtOnceOutliveARestart(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	s.do("target core-1 switch")
	for i := range 60 {
		s.do(fmt.Sprintf("target srv-%d server core-1 team=oncall", i))
		s.do(fmt.Sprintf("target vm-%d vm srv-%d team=oncall", i, i))
	}
	for i := range 60 {
		s.do(fmt.Sprintf("down srv-%d", i))
		s.do(fmt.Sprintf("down vm-%d", i))
		s.do(fmt.Sprintf("fire srv-%d TargetDown", i))
		s.do(fmt.Sprintf("fire vm-%d TargetDown", i))
	}
	s.do("up core-1")
	s.answer(20 * time.Second)
	s.do("ack similar/oncall/server jo 4h")
	s.answer(10 * time.Minute)
	for range 3 {
		s.restart()
		s.answer(time.Minute)
	}
	if s.fired() != 1 || s.desk.Open() != 1 || s.pages[0].Snapshot.SuppressedTotal != 60 || !strings.Contains(s.pages[0].Title, "60 targets behind") {
		t.Fatalf("%d pages, %d open\n%s", s.fired(), s.desk.Open(), s.said.String())
	}
	for i := range 60 {
		s.do(fmt.Sprintf("up srv-%d", i))
		s.do(fmt.Sprintf("up vm-%d", i))
		s.do(fmt.Sprintf("resolve vm-%d TargetDown", i))
		s.do(fmt.Sprintf("resolve srv-%d TargetDown", i))
	}
	s.do("+2m")
	s.promises()
	if s.fired() != 1 || s.desk.Open() != 0 {
		t.Fatalf("%d pages, %d open\n%s", s.fired(), s.desk.Open(), s.said.String())
	}
}

// A route of its own is told of its alerts, however many others of their team and class fail.
func TestWhoIsToldByAnotherRouteIsToldByItself(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	ids := racks(s, 12, "net")
	for i, id := range ids {
		if i%2 == 0 {
			s.do("fire " + id + " AppErrors emergency") // To the receiver security, too.
		} else {
			s.do("fire " + id + " AppErrors")
		}
	}
	s.answer(20 * time.Second)
	told := s.told()
	want := []string{"firing net-hook similar/net/vm", "firing net-hook similar/net/vm", "firing security similar/net/vm"}
	if !slices.Equal(told, want) {
		t.Fatalf("told %q; want %q\n%s", told, want, s.said.String())
	}
}

// Other teams are never told of what is not theirs, and each is told by a page of its own.
func TestTeamsAreNeverGatheredTogether(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	s.do("target core-1 switch")
	for i := range 30 {
		s.do(fmt.Sprintf("target vm-%d vm core-1 team=%s", i, []string{"web", "shop", "net"}[i%3]))
		s.do(fmt.Sprintf("fire vm-%d AppErrors", i))
	}
	s.answer(20 * time.Second)
	for _, p := range s.pages {
		for _, a := range p.Snapshot.Alerts {
			if team := s.targets[a.Target].Team; team != p.Team || p.Receiver != team+"-hook" {
				t.Errorf("%s of team %s is told to %s (%s)", a.Target, team, p.Receiver, p.Team)
			}
		}
	}
	if s.fired() != 3 {
		t.Fatalf("%d pages\n%s", s.fired(), s.said.String())
	}
	const why = "10 of team web and class vm within 1m0s, and no cause is known that explains them"
	if got := s.newest("similar/web/vm").Reason; got.Code != ReasonSimilar || got.Text != why {
		t.Errorf("the reason is %q; want %q", got.Text, why)
	}
}

// Whoever was told of many hears of their cause by its name, as an update: nobody is called.
func TestWhoHeardOfManyHearsOfTheirCause(t *testing.T) {
	lines, _ := commands(t, "testdata/similar-rerooted.txt")
	s := play(t, lines, -1, nothingLost)
	const want = "You were told of what fails at once on vms of team net: the cause is tor-1."
	for _, p := range s.pages {
		if p.Kind == event.PageUpdate && strings.Contains(p.Text, want) {
			return
		}
	}
	t.Errorf("no update says %q\n%s", want, s.said.String())
}
