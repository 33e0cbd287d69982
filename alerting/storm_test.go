package alerting

import (
	"cmp"
	"fmt"
	"iter"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

// happening is something that reaches the desk at a time.
type happening struct {
	at time.Time
	do func(*stage)
}

// site makes targets: one core switch and behind it access switches, servers and VMs.
func site(s *stage, targets int) (ids []string) {
	add := func(class, id string, need ...string) {
		s.target(append([]string{"target", id, class}, need...))
		ids = append(ids, id)
	}
	add("switch", "core-1")
	tors, servers := max(1, targets/200), max(1, targets/10)
	for i := range targets - 1 {
		switch {
		case i < tors:
			add("switch", fmt.Sprintf("tor-%d", i), "core-1")
		case i < tors+servers:
			add("server", fmt.Sprintf("srv-%d", i-tors), fmt.Sprintf("tor-%d", (i-tors)%tors))
		default:
			add("vm", fmt.Sprintf("vm-%d", i), fmt.Sprintf("srv-%d", i%servers))
		}
	}
	return ids
}

// storm lets the core switch fail and come back: every target's verdict and alert come at any moment within the spread,
// in any order, the
// alert before the verdict too. Who is asked in between answers as it is: silence after eight seconds.
func storm(s *stage, ids []string, random *rand.Rand, spread time.Duration) {
	failed, back := s.now, s.now.Add(2*time.Minute)
	var plan []happening
	within := func(from time.Time, d time.Duration) time.Time {
		return from.Add(time.Duration(random.Int64N(int64(d))))
	}
	for _, id := range ids {
		// When its poll fell due, and how long after that its verdict and its alert get here.
		began, ended, lag := within(failed, spread), within(back, 20*time.Second), 20*time.Second
		plan = append(plan,
			happening{within(began, lag), func(s *stage) { s.saw(id, event.VerdictFiring, began) }},
			happening{within(began, lag), func(s *stage) { s.alertAt(id, event.AlertFiring, began, began) }},
			happening{within(ended, lag), func(s *stage) { s.saw(id, event.VerdictOK, ended) }},
			happening{within(ended, lag), func(s *stage) { s.alertAt(id, event.AlertResolved, began, ended) }},
		)
	}
	slices.SortFunc(plan, func(a, b happening) int { return a.at.Compare(b.at) })
	var answers []happening
	end := back.Add(3 * time.Minute)
	for s.now.Before(end) {
		next := s.now.Truncate(time.Second).Add(time.Second)
		var h *happening
		if len(plan) > 0 && plan[0].at.Before(next) {
			next, h = plan[0].at, &plan[0]
		}
		if len(answers) > 0 && answers[0].at.Before(next) {
			next, h = answers[0].at, &answers[0]
			answers = answers[1:]
		} else if h != nil {
			plan = plan[1:]
		}
		s.now = next
		if h != nil {
			h.do(s)
		}
		out := s.desk.Step(s.now)
		s.take(out)
		for _, v := range out.Verify {
			asked, after, verdict := s.now, 8*time.Second, event.VerdictFiring
			if !asked.Before(back) {
				after, verdict = 20*time.Millisecond, event.VerdictOK
			}
			answers = append(answers, happening{asked.Add(after), func(s *stage) { s.saw(v.Target.ID, verdict, asked) }})
			slices.SortStableFunc(answers, func(a, b happening) int { return a.at.Compare(b.at) })
		}
	}
}

func (s *stage) saw(target string, v event.Verdict, at time.Time) {
	s.desk.Reachable(&event.Finding{Rule: event.RuleReachable, Verdict: v, Target: target, Domain: "default", Since: at, At: at})
}

func (s *stage) alertAt(target string, state event.AlertState, began, updated time.Time) {
	a := &event.Alert{
		ID: "alert-" + target, Name: "TargetDown", Rule: "test/TargetDown", State: state, Target: target, Domain: "default", Team: "net",
		Severity: "critical", StartsAt: began, Updated: updated,
	}
	s.desk.Alert(a)
}

// A core switch takes everything along: one page, one resolved, whatever the order.
func TestStormInAnyOrderIsOnePage(t *testing.T) {
	for _, size := range []struct{ targets, orders int }{{300, 180}, {2000, 20}, {9641, 1}} {
		t.Run(fmt.Sprint(size.targets), func(t *testing.T) {
			t.Parallel()
			slowest := time.Duration(0)
			for seed := range orders(t, size.orders) {
				s := newStage(t, DefaultPolicy())
				begun := s.now
				storm(s, site(s, size.targets), rand.New(rand.NewPCG(seed, 1)), time.Minute)
				if len(s.pages) != 2 || s.pages[0].Kind != event.PageFiring || s.pages[1].Kind != event.PageResolved ||
					s.pages[0].Snapshot.Cause != "core-1" || s.pages[1].Snapshot.SuppressedTotal != size.targets-1 {
					t.Fatalf("order %d: told %q; want core-1 firing and resolved\n%s", seed, s.told(), s.said.String())
				}
				slowest = max(slowest, s.pages[0].Created.Sub(begun))
				s.promises()
				if n := s.desk.Open(); n != 0 || len(s.desk.alerts) != 0 {
					t.Fatalf("order %d: %d incidents and %d alerts are left", seed, n, len(s.desk.alerts))
				}
				if len(s.incidents) > 150 { // One in two seconds at most while their numbers change.
					t.Fatalf("order %d: %d incidents were published", seed, len(s.incidents))
				}
			}
			t.Logf("the first page came at most %s after the failure", slowest)
		})
	}
}

// hall makes one core switch, and behind it racks with a switch, servers and five VMs on each server.
func hall(s *stage, racks, servers int) (ids []string) {
	add := func(class, id string, need ...string) {
		s.target(append([]string{"target", id, class}, need...))
		ids = append(ids, id)
	}
	add("switch", "core-1")
	for r := range racks {
		tor := fmt.Sprintf("tor-%d", r)
		add("switch", tor, "core-1")
		for i := range servers {
			srv := fmt.Sprintf("srv-%d-%d", r, i)
			add("server", srv, tor)
			for v := range 5 {
				add("vm", fmt.Sprintf("vm-%d-%d-%d", r, i, v), srv)
			}
		}
	}
	return ids
}

// elsewhere lets the core switch fail and come back as others see it: alerts come within the spread, in any order, and
// nobody can be asked. It returns when the last alert resolved.
func elsewhere(s *stage, ids []string, random *rand.Rand, spread time.Duration) {
	failed, back := s.now, s.now.Add(3*time.Minute)
	var plan []happening
	for _, id := range ids {
		began, ended := failed.Add(time.Duration(random.Int64N(int64(spread)))), back.Add(time.Duration(random.Int64N(int64(20*time.Second))))
		plan = append(plan,
			happening{began, func(s *stage) { s.hostAt(id, event.AlertFiring, failed, began) }},
			happening{ended, func(s *stage) { s.hostAt(id, event.AlertResolved, failed, ended) }},
		)
	}
	slices.SortFunc(plan, func(a, b happening) int { return a.at.Compare(b.at) })
	for end := back.Add(3 * time.Minute); s.now.Before(end); {
		s.now = s.now.Add(200 * time.Millisecond)
		for ; len(plan) > 0 && !plan[0].at.After(s.now); plan = plan[1:] {
			plan[0].do(s)
		}
		s.step()
	}
}

func (s *stage) hostAt(target string, state event.AlertState, began, updated time.Time) {
	s.desk.Alert(&event.Alert{
		ID: "host-" + target, Name: "HostDown", Rule: "elsewhere", State: state, Target: target, Domain: "default", Team: "net",
		Severity: "critical", StartsAt: began, Updated: updated,
	})
}

// orders are the seeds of the orders of arrival that a test tries: KEMI_ORDERS says how many, as the thousand of the
// guarantees. Every hundred are said, since a thousand storms of full size take half an hour.
func orders(t *testing.T, usual int) iter.Seq[uint64] {
	t.Helper()
	n, err := strconv.Atoi(cmp.Or(os.Getenv("KEMI_ORDERS"), strconv.Itoa(usual)))
	if err != nil {
		t.Fatalf("KEMI_ORDERS: %v", err)
	}
	if testing.Short() {
		n = (n + 9) / 10
	}
	return func(yield func(uint64) bool) {
		for seed := range max(1, n/fewer) {
			if !yield(uint64(seed)) {
				return
			}
			if (seed+1)%100 == 0 {
				t.Logf("%d orders tried", seed+1)
			}
		}
	}
}

// A core switch fails that nobody can ask, and all that is known are alerts from elsewhere, of everything behind it or of
// it too: one page that names it, within 15 s, and one that it is over.
func TestStormOfAlertsFromElsewhereIsOnePage(t *testing.T) {
	for _, size := range []struct{ racks, servers, orders int }{{5, 8, 60}, {40, 40, 2}} {
		for _, known := range []bool{false, true} {
			t.Run(fmt.Sprintf("%d racks of %d servers, the core's own alert %v", size.racks, size.servers, known), func(t *testing.T) {
				t.Parallel()
				slowest := time.Duration(0)
				for seed := range orders(t, size.orders) {
					s := newStage(t, DefaultPolicy())
					s.unpolled = true
					ids := hall(s, size.racks, size.servers)
					begun := s.now
					if !known {
						ids = ids[1:]
					}
					elsewhere(s, ids, rand.New(rand.NewPCG(seed, 2)), time.Minute)
					if len(s.pages) != 2 || s.pages[0].Kind != event.PageFiring || s.pages[1].Kind != event.PageResolved || s.pages[0].Snapshot.Cause != "core-1" {
						t.Fatalf("order %d: told %q; want core-1 firing and resolved\n%s", seed, s.told(), s.said.String())
					}
					slowest = max(slowest, s.pages[0].Created.Sub(begun))
					s.promises()
					if n := s.desk.Open(); n != 0 || len(s.desk.alerts) != 0 || len(s.desk.suspects) != 0 {
						t.Fatalf("order %d: %d incidents, %d alerts, %d suspects are left", seed, n, len(s.desk.alerts), len(s.desk.suspects))
					}
				}
				if slowest > 15*time.Second {
					t.Errorf("the first page came %s after the first failure", slowest)
				}
				t.Logf("the first page came at most %s after the failure", slowest)
			})
		}
	}
}

// Whatever happens to a small site, with restarts in between: once everything is well and quiet, everybody who was told
// that something fires was told that it resolved, once each; and nothing is left.
func TestEveryFiringIsResolvedWhateverHappens(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		policy := DefaultPolicy()
		policy.SimilarCount = rapid.SampledFrom([]int{2, 4}).Draw(r, "similar")
		s := newStage(t, policy)
		ids := []string{"a", "b", "c", "d", "e", "f"}
		relate := func(id string) {
			line := []string{"target", id, "switch"}
			if rapid.Bool().Draw(r, "escalates") {
				line = append(line, "team=oncall")
			}
			for range rapid.IntRange(0, 2).Draw(r, "needs") {
				need := rapid.SampledFrom(ids).Draw(r, "need")
				if rapid.Bool().Draw(r, "any") {
					need += "|" + rapid.SampledFrom(ids).Draw(r, "or")
				}
				line = append(line, need)
			}
			if rapid.IntRange(0, 3).Draw(r, "polled") == 0 {
				line = append(line, "nochecks")
			}
			s.target(line)
		}
		for _, id := range ids {
			relate(id)
		}
		alerts := []string{"TargetDown", "DiskFull"}
		for range rapid.IntRange(1, 60).Draw(r, "steps") {
			id, name := rapid.SampledFrom(ids).Draw(r, "target"), rapid.SampledFrom(alerts).Draw(r, "alert")
			switch rapid.IntRange(0, 11).Draw(r, "what") {
			case 9:
				s.do("silence " + id + " " + rapid.SampledFrom([]string{"30s", "5m"}).Draw(r, "silent") + " target=" + id)
			case 10:
				s.do("unsilence " + id)
			case 11:
				if s.newest(id) != nil {
					s.do(rapid.SampledFrom([]string{"ack " + id + " jo 2m", "unack " + id, "snooze " + id + " 90s", "assign " + id + " lee", "byhand " + id}).Draw(r, "act"))
				}
			case 0, 1:
				s.do("fire " + id + " " + name)
			case 2:
				s.do("resolve " + id + " " + name)
			case 3, 4:
				s.do("down " + id)
			case 5:
				s.do("up " + id)
			case 6:
				s.do("+" + rapid.SampledFrom([]string{"1s", "4s", "20s", "90s"}).Draw(r, "wait"))
			case 7:
				relate(id)
				s.step()
			case 8:
				s.lose(loss(rapid.IntRange(0, 2).Draw(r, "loss")))
				s.restart()
			}
		}
		for _, id := range ids {
			s.do("unsilence " + id)
			s.do("up " + id)
			for _, name := range alerts {
				s.do("resolve " + id + " " + name)
			}
		}
		s.do("+20m")
		s.promises()
		if s.desk.Open() != 0 {
			r.Fatalf("%d incidents are left open\n%s", s.desk.Open(), s.said.String())
		}
		for id, i := range s.incidents {
			if i.State != event.IncidentResolved {
				r.Fatalf("%s is %s as published\n%s", s.name(id), i.State, s.said.String())
			}
		}
		if t.Failed() {
			r.Fatalf("a promise was broken\n%s", s.said.String())
		}
	})
}

// No alert that lasts stays without a page for long, unless its cause was paged.
func TestWhatLastsIsTold(t *testing.T) {
	rapid.Check(t, func(r *rapid.T) {
		policy := DefaultPolicy()
		policy.SimilarCount = rapid.SampledFrom([]int{2, 4}).Draw(r, "similar")
		s := newStage(t, policy)
		ids := []string{"a", "b", "c", "d"}
		for i, id := range ids { // Without cycles.
			line := []string{"target", id, "switch"}
			if rapid.Bool().Draw(r, "unpolled") {
				line = append(line, "nochecks")
			}
			if i > 0 && rapid.Bool().Draw(r, "needs") {
				line = append(line, rapid.SampledFrom(ids[:i]).Draw(r, "need"))
			}
			s.target(line)
		}
		for range rapid.IntRange(1, 40).Draw(r, "steps") {
			id := rapid.SampledFrom(ids).Draw(r, "target")
			s.do(rapid.SampledFrom([]string{"fire " + id + " X", "resolve " + id + " X", "fire " + id + " HostDown", "resolve " + id + " HostDown", "down " + id, "up " + id, "+3s", "+40s"}).Draw(r, "what"))
			if rapid.IntRange(0, 9).Draw(r, "restart") == 0 {
				s.restart()
			}
		}
		s.do("+20m")
		for id, a := range s.desk.alerts {
			if len(a.inc.told) == 0 {
				r.Fatalf("nobody was told of %s on %s (%s)\n%s", a.event.Name, a.event.Target, id, s.said.String())
			}
		}
	})
}

// A page ledger and its incidents are small whatever the names and numbers.
func TestIncidentRecordStaysSmall(t *testing.T) {
	s := newStage(t, DefaultPolicy())
	long := make([]byte, 3000)
	for i := range long {
		long[i] = 'x'
	}
	for i := range 3000 {
		s.target([]string{"target", fmt.Sprintf("%s-%d", long, i), fmt.Sprintf("%s-%d", long, i), "core-1"})
	}
	s.target([]string{"target", "core-1", "switch"})
	s.do("down core-1")
	for i := range 3000 {
		s.alert(fmt.Sprintf("%s-%d", long, i), string(long), event.AlertFiring)
	}
	s.do("+10s")
	if len(s.pages) != 1 {
		t.Fatalf("%d pages; want one", len(s.pages))
	}
	data, err := s.pages[0].Encode()
	if err != nil || len(data) >= 64<<10 {
		t.Fatalf("the page has %d bytes, %v", len(data), err)
	}
	s.promises()
}

func BenchmarkStorm10000(b *testing.B) {
	for b.Loop() {
		s := newStage(b, DefaultPolicy())
		d := s.desk
		ids := site(s, 10000)
		order := rand.New(rand.NewPCG(1, 1)).Perm(len(ids))
		for i, k := range order {
			at := s.now.Add(time.Duration(i) * 6 * time.Millisecond)
			d.Reachable(&event.Finding{Rule: event.RuleReachable, Verdict: event.VerdictFiring, Target: ids[k], Since: at, At: at})
			d.Alert(&event.Alert{ID: ids[k], Name: "TargetDown", State: event.AlertFiring, Target: ids[k], Domain: "default", StartsAt: at, Updated: at})
			d.Step(at)
		}
	}
}

func BenchmarkBlameAmong100000(b *testing.B) {
	s := newStage(b, DefaultPolicy())
	ids := site(s, 100000)
	core := s.desk.graph.node("core-1")
	core.state, core.since = down, s.now
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		if n := s.desk.graph.node(ids[1+i%(len(ids)-1)]); s.desk.graph.blame(n).root != core {
			b.Fatalf("%s is not explained", n.id)
		}
		i += 7919
	}
}

func BenchmarkCountAmong100000(b *testing.B) {
	s := newStage(b, DefaultPolicy())
	ids := site(s, 100000)
	core := s.desk.graph.node("core-1")
	core.state, core.since = down, s.now
	for b.Loop() {
		n := 0
		s.desk.graph.taken(core, func(*node) { n++ })
		if n != len(ids)-1 {
			b.Fatal(n)
		}
	}
}
