package alerting

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// hosts makes servers that nobody polls, each with two VMs that nobody polls either.
func hosts(s *stage, n int, team string) {
	for i := range n {
		s.do(fmt.Sprintf("target srv-%d server nochecks team=%s", i, team))
		for _, vm := range []string{"a", "b"} {
			s.do(fmt.Sprintf("target vm-%d%s vm srv-%d nochecks team=%s", i, vm, i, team))
		}
	}
}

// However many servers fail however fast, each known only because its VMs fire: at most three single pages and one for all, or
// as many as there are when they are few; all of it is over when it is over, with a restart in between.
func TestManySuspectsAreFewPages(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		s := newStage(t, DefaultPolicy())
		n := rapid.IntRange(1, 30).Draw(r, "servers")
		hosts(s, n, "net")
		random := rand.New(rand.NewPCG(rapid.Uint64().Draw(r, "seed"), 1))
		spread := rapid.IntRange(1, 40).Draw(r, "seconds")
		at := map[int][]int{}
		for i := range n {
			k := random.IntN(spread)
			at[k] = append(at[k], i)
		}
		restart := rapid.IntRange(-1, spread+20).Draw(r, "restart")
		for k := range spread + 30 {
			for _, i := range at[k] {
				s.do(fmt.Sprintf("fire vm-%da VMDown", i))
				s.do(fmt.Sprintf("fire vm-%db VMDown", i))
			}
			s.do("+1s")
			if k == restart {
				s.restart()
			}
		}
		if got := s.fired(); got > min(n, 4) || n < 4 && got != n {
			r.Fatalf("%d suspects within %d s were %d pages\n%s", n, spread, got, s.said.String())
		}
		told := s.fired()
		for _, i := range random.Perm(n) { // Each is none after all, for a time: nobody is called.
			s.do(fmt.Sprintf("resolve vm-%da VMDown", i))
		}
		s.do("+3m")
		if s.fired() != told && n >= 4 && told == 1 {
			r.Fatalf("what is left is told anew\n%s", s.said.String())
		}
		for _, i := range random.Perm(n) {
			s.do(fmt.Sprintf("resolve vm-%db VMDown", i))
		}
		s.do("+2m")
		s.promises()
		if s.desk.Open() != 0 || t.Failed() {
			r.Fatalf("%d incidents are left\n%s", s.desk.Open(), s.said.String())
		}
	})
}

// More suspects than a record lists alerts, acknowledged, and restarts long after: nobody is called again, and all of it ends.
func TestManySuspectsOutliveARestart(t *testing.T) {
	const n = 60
	s := newStage(t, DefaultPolicy())
	hosts(s, n, "oncall")
	for i := range n {
		s.do(fmt.Sprintf("fire vm-%da VMDown", i))
		s.do(fmt.Sprintf("fire vm-%db VMDown", i))
	}
	s.do("+20s")
	s.do("ack similar/oncall/server jo 4h")
	s.do("+10m")
	for range 3 {
		s.restart()
		s.do("+1m")
	}
	const title = "60 servers of team oncall are suspected at once: 120 targets behind them fire (120 vms)"
	if s.fired() != 1 || s.desk.Open() != 1 || s.pages[0].Title != title || s.newest("similar/oncall/server").Title != title {
		t.Fatalf("%d pages, %d open: %q\n%s", s.fired(), s.desk.Open(), s.newest("similar/oncall/server").Title, s.said.String())
	}
	for i := range n {
		s.do(fmt.Sprintf("resolve vm-%da VMDown", i))
	}
	s.do("+2m")
	for range 2 { // What is left is more than the record lists, too.
		s.restart()
		s.do("+1m")
	}
	if got := s.newest("similar/oncall/server").Title; s.fired() != 1 || !strings.HasPrefix(got, "60 targets behind servers of team oncall that are there fire: VMDown (60)") {
		t.Errorf("%d pages: %q", s.fired(), got)
	}
	for i := range n {
		s.do(fmt.Sprintf("resolve vm-%db VMDown", i))
	}
	s.do("+2m")
	s.promises()
	if s.fired() != 1 || s.desk.Open() != 0 {
		t.Fatalf("%d pages, %d open\n%s", s.fired(), s.desk.Open(), s.said.String())
	}
}
