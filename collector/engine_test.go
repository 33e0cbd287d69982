package collector

import (
	"fmt"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
)

var noon = time.Date(2026, 11, 21, 12, 0, 0, 0, time.UTC)

// at makes a ticket of a target's check in the slot at now, due within ten seconds.
func at(target string, slot time.Time) *ticket {
	return &ticket{target: target, check: "snmp", slot: slot.UnixMilli(), deadline: slot.Add(10 * time.Second), woken: make(chan struct{})}
}

func arrives(t *testing.T, e *engine, tk *ticket, now time.Time, want verdict) {
	t.Helper()
	if got := e.arrive(tk, now); got != want {
		t.Fatalf("verdict on %s is %d, want %d", tk.target, got, want)
	}
}

// polled lets a ticket be polled from beginning to end.
func polled(t *testing.T, e *engine, tk *ticket, status event.Status, took time.Duration, now time.Time) {
	t.Helper()
	arrives(t, e, tk, now, start)
	e.finish(tk, true, true, status, took, now.Add(took))
}

func TestASlotIsPolledOnce(t *testing.T) {
	e := newEngine(10)
	polled(t, e, at("a", noon), event.StatusOK, 0, noon)
	arrives(t, e, at("a", noon), noon.Add(time.Second), repeated)
	// Also past its deadline: it has had its outcome.
	arrives(t, e, at("a", noon), noon.Add(time.Hour), repeated)
	other := at("a", noon)
	other.check = "http"
	polled(t, e, other, event.StatusOK, 0, noon)
	polled(t, e, at("a", noon.Add(10*time.Second)), event.StatusOK, 0, noon.Add(10*time.Second))
}

func TestASlotThatWasNotPublishedIsPolledAgain(t *testing.T) {
	e := newEngine(10)
	tk := at("a", noon)
	arrives(t, e, tk, noon, start)
	e.finish(tk, false, true, event.StatusOK, 0, noon)
	arrives(t, e, at("a", noon), noon, start)
}

func TestAJobPastItsDeadlineIsLate(t *testing.T) {
	arrives(t, newEngine(10), at("a", noon), noon.Add(10*time.Second), late)
}

func TestASecondJobOfATargetWaitsForTheFirst(t *testing.T) {
	e := newEngine(10)
	first, second, third := at("a", noon), at("a", noon.Add(time.Second)), at("a", noon.Add(2*time.Second))
	arrives(t, e, first, noon, start)
	arrives(t, e, second, noon, wait)
	arrives(t, e, third, noon, wait)
	arrives(t, e, at("b", noon), noon, start)
	if woken := e.finish(first, true, true, event.StatusOK, 0, noon); !slices.Equal(woken, []*ticket{second}) || second.verdict != start {
		t.Fatalf("woken %v with %d", woken, second.verdict)
	}
	// The second takes so long that the third is late by then.
	if woken := e.finish(second, true, true, event.StatusOK, 0, noon.Add(time.Minute)); !slices.Equal(woken, []*ticket{third}) || third.verdict != late {
		t.Fatalf("woken %v with %d", woken, third.verdict)
	}
	arrives(t, e, at("a", noon.Add(time.Minute)), noon.Add(time.Minute), start)
}

func TestTheSameJobTwiceAtOnceIsPolledOnce(t *testing.T) {
	e := newEngine(10)
	first, again := at("a", noon), at("a", noon)
	arrives(t, e, first, noon, start)
	arrives(t, e, again, noon, wait)
	if e.finish(first, true, true, event.StatusOK, 0, noon); again.verdict != repeated {
		t.Fatalf("verdict %d, want repeated", again.verdict)
	}
}

// A job that comes again while it is in hand has the outcome of the first, however late or crowded it is by then.
func TestAJobThatIsInHandIsNeitherLateNorCrowded(t *testing.T) {
	e := newEngine(1)
	polled(t, e, at("a", noon), event.StatusTimeout, 4*time.Second, noon)
	now := noon.Add(10 * time.Second)
	first, again, overdue := at("a", now), at("a", now), at("a", now)
	arrives(t, e, first, now, start)
	for i := range e.limits.slow + e.limits.waiting { // The slow lane is full.
		polled(t, e, at(fmt.Sprint("dead", i), noon), event.StatusTimeout, 4*time.Second, noon)
		e.arrive(at(fmt.Sprint("dead", i), now), now)
	}
	arrives(t, e, again, now, wait)
	arrives(t, e, overdue, now.Add(time.Minute), wait)
	e.finish(first, true, true, event.StatusTimeout, time.Minute, now.Add(time.Minute))
	if again.verdict != repeated || overdue.verdict != repeated {
		t.Errorf("verdicts %d and %d, want repeated", again.verdict, overdue.verdict)
	}
}

func TestAJobThatCameAgainTakesOverWhenTheFirstWasNotPublished(t *testing.T) {
	e := newEngine(10)
	first, second, third := at("a", noon), at("a", noon), at("a", noon)
	arrives(t, e, first, noon, start)
	arrives(t, e, second, noon, wait)
	arrives(t, e, third, noon, wait)
	if left, _ := e.leave(second, noon); !left {
		t.Fatal("the second could not leave")
	}
	fourth := at("a", noon)
	arrives(t, e, fourth, noon, wait)
	if woken := e.finish(first, false, true, event.StatusOK, 0, noon); !slices.Equal(woken, []*ticket{third}) || third.verdict != start {
		t.Fatalf("woken %v, the third has verdict %d", woken, third.verdict)
	}
	if woken := e.finish(third, true, true, event.StatusOK, 0, noon); !slices.Equal(woken, []*ticket{fourth}) || fourth.verdict != repeated {
		t.Fatalf("woken %v, the fourth has verdict %d", woken, fourth.verdict)
	}
	missed, after := at("b", noon), at("b", noon)
	arrives(t, e, missed, noon.Add(time.Minute), late)
	arrives(t, e, after, noon.Add(time.Minute), wait)
	if woken := e.settle(missed, false, noon.Add(time.Minute)); !slices.Equal(woken, []*ticket{after}) || after.verdict != late {
		t.Fatalf("woken %v with verdict %d, want late: nothing was said of it", woken, after.verdict)
	}
	e.settle(after, true, noon.Add(time.Minute))
	arrives(t, e, at("b", noon), noon.Add(time.Minute), repeated)
	e.sweep(noon.Add(3 * forgetAfter))
	if len(e.targets) != 0 {
		t.Errorf("%d targets are remembered", len(e.targets))
	}
}

// Ten thousand tickets that give up at once cost about as much as they are many.
func TestLeavingALongQueueIsCheap(t *testing.T) {
	const n = 10000
	e := newEngine(1)
	arrives(t, e, at("first", noon), noon, start)
	tickets := make([]*ticket, n)
	for i := range tickets {
		tickets[i] = at(fmt.Sprint(i), noon)
		tickets[i].real = i%10 == 0
		arrives(t, e, tickets[i], noon, wait)
	}
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	for i := range tickets {
		e.leave(tickets[n-1-i], noon)
	}
	runtime.ReadMemStats(&after)
	if got := after.TotalAlloc - before.TotalAlloc; got > 100*n {
		t.Errorf("%d octets were allocated for each that left", got/n)
	}
	if w := e.lanes[fast].waiting; w != 0 {
		t.Errorf("%d wait still", w)
	}
}

func TestADeadTargetIsProbedCheaplyAndComesBackInOneSlot(t *testing.T) {
	e := newEngine(10)
	now := noon
	for i := range 5 {
		tk := at("a", now)
		arrives(t, e, tk, now, start)
		if dead := i >= breakAfter; tk.probing != dead || (e.backingOff("a") != "") != dead {
			t.Fatalf("poll %d: probing %v, backing off %q", i, tk.probing, e.backingOff("a"))
		}
		e.finish(tk, true, true, event.StatusTimeout, 4*time.Second, now)
		now = now.Add(10 * time.Second)
	}
	if got, want := e.backingOff("a"), "backing off since 2026-11-21T12:00:00Z, 6 failures"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	real := at("a", now)
	real.real, real.id = true, "verify"
	arrives(t, e, real, now, start)
	if real.probing || real.lane != fast {
		t.Error("a job that somebody waits for is cheap or slow")
	}
	e.finish(real, true, true, event.StatusOK, 0, now)
	next := at("a", now)
	arrives(t, e, next, now, start)
	if next.probing || next.lane != fast {
		t.Error("the target answered and is still taken for dead")
	}
}

func TestARefusalMakesNobodyDead(t *testing.T) {
	e := newEngine(10)
	for i := range 2 * breakAfter {
		now := noon.Add(time.Duration(i) * 10 * time.Second)
		polled(t, e, at("a", now), event.StatusRefused, time.Millisecond, now)
	}
	if e.backingOff("a") != "" {
		t.Error("backing off from a target that answers")
	}
}

func TestSlowTargetsLeavePlacesToTheOthers(t *testing.T) {
	e := newEngine(4)
	for i := range 40 {
		polled(t, e, at(fmt.Sprint("dead", i), noon), event.StatusTimeout, 4*time.Second, noon)
	}
	now := noon.Add(10 * time.Second)
	var running []*ticket
	waiting, crowdedOut := 0, 0
	for i := range 40 {
		tk := at(fmt.Sprint("dead", i), now)
		switch e.arrive(tk, now) {
		case start:
			running = append(running, tk)
		case wait:
			waiting++
		case crowded:
			crowdedOut++
		}
	}
	if len(running) != e.limits.slow || waiting != e.limits.waiting || crowdedOut != 40-len(running)-waiting || crowdedOut == 0 {
		t.Fatalf("%d run, %d wait, %d are crowded out", len(running), waiting, crowdedOut)
	}
	for i := range 4 {
		arrives(t, e, at(fmt.Sprint("live", i), now), now, start)
	}
	arrives(t, e, at("live4", now), now, wait)
	woken := e.finish(running[0], true, true, event.StatusTimeout, 4*time.Second, now)
	if len(woken) != 1 || !strings.HasPrefix(woken[0].target, "dead") {
		t.Fatalf("a place in the slow lane went to %v", woken)
	}
}

func TestAPollThatTurnsOutToBeSlowLeavesItsPlace(t *testing.T) {
	e := newEngine(1)
	first, second := at("a", noon), at("b", noon)
	arrives(t, e, first, noon, start)
	arrives(t, e, second, noon, wait)
	if woken := e.tick(noon.Add(slowFrom / 2)); len(woken) != 0 {
		t.Fatalf("woken %v too early", woken)
	}
	if woken := e.tick(noon.Add(slowFrom)); !slices.Equal(woken, []*ticket{second}) || first.lane != slow {
		t.Fatalf("woken %v, the first in lane %d", woken, first.lane)
	}
	e.finish(first, true, true, event.StatusOK, 2*slowFrom, noon)
	e.finish(second, true, true, event.StatusOK, 0, noon)
	for i, l := range e.lanes {
		if l.running != 0 || l.waiting != 0 {
			t.Errorf("lane %d after everything is done: %+v", i, l)
		}
	}
}

func TestWhoeverDoesNotWaitAnyLongerIsForgotten(t *testing.T) {
	e := newEngine(1)
	a, a2, b, c := at("a", noon), at("a", noon.Add(time.Second)), at("b", noon), at("c", noon)
	arrives(t, e, a, noon, start)
	arrives(t, e, a2, noon, wait)
	arrives(t, e, b, noon, wait)
	arrives(t, e, c, noon, wait)
	for _, tk := range []*ticket{a2, b} {
		if left, _ := e.leave(tk, noon); !left {
			t.Fatalf("%s did not leave", tk.target)
		}
		e.settle(tk, false, noon)
	}
	if woken := e.finish(a, true, true, event.StatusOK, 0, noon); !slices.Equal(woken, []*ticket{c}) {
		t.Fatalf("woken %v, want c", woken)
	}
	if left, _ := e.leave(c, noon); left {
		t.Error("c left after it was started")
	}
	e.finish(c, true, true, event.StatusOK, 0, noon)
	arrives(t, e, at("b", noon), noon, start)
}

func TestIdleTargetsAreForgotten(t *testing.T) {
	e := newEngine(10)
	polled(t, e, at("a", noon), event.StatusOK, 0, noon)
	e.sweep(noon)
	e.sweep(noon.Add(forgetAfter + time.Minute))
	if len(e.targets) != 0 {
		t.Errorf("%d targets are remembered", len(e.targets))
	}
}

// Whatever happens, one target is polled by one ticket at a time, no lane has more than its places, every ticket gets
// one verdict, and nobody waits while there is room.
func TestEngineKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := newEngine(rapid.IntRange(1, 6).Draw(t, "places"))
		now := noon
		var running, waiting, unsaid []*ticket // unsaid were told late or crowded, and their outcome is not on the bus yet.
		verdicts := map[*ticket]bool{}
		fallen := func(tk *ticket) {
			if verdicts[tk] {
				t.Fatalf("%s got two verdicts", tk.target)
			}
			verdicts[tk] = true
			if tk.verdict == start {
				running = append(running, tk)
			} else if tk.verdict != repeated {
				unsaid = append(unsaid, tk)
			}
		}
		wake := func(woken []*ticket) {
			for _, tk := range woken {
				waiting = slices.DeleteFunc(waiting, func(o *ticket) bool { return o == tk })
				fallen(tk)
			}
		}
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			now = now.Add(time.Duration(rapid.IntRange(0, 4000).Draw(t, "ms")) * time.Millisecond)
			switch n := rapid.IntRange(0, 11).Draw(t, "what"); {
			case n >= 10 && len(unsaid) > 0:
				i := rapid.IntRange(0, len(unsaid)-1).Draw(t, "said")
				tk := unsaid[i]
				unsaid = slices.Delete(unsaid, i, i+1)
				wake(e.settle(tk, rapid.Bool().Draw(t, "said well"), now))
			case n >= 9:
				wake(e.tick(now))
			case n < 5:
				tk := at(fmt.Sprint(rapid.IntRange(0, 5).Draw(t, "target")), now.Add(-time.Duration(rapid.IntRange(0, 11).Draw(t, "age"))*time.Second))
				if rapid.Bool().Draw(t, "real") {
					tk.real, tk.id = true, fmt.Sprint(rapid.IntRange(0, 20).Draw(t, "id"))
				}
				switch v := e.arrive(tk, now); v {
				case wait:
					waiting = append(waiting, tk)
				default:
					tk.verdict = v
					fallen(tk)
				}
			case n < 8 && len(running) > 0:
				i := rapid.IntRange(0, len(running)-1).Draw(t, "which")
				tk := running[i]
				running = slices.Delete(running, i, i+1)
				status := rapid.SampledFrom([]event.Status{event.StatusOK, event.StatusTimeout}).Draw(t, "status")
				wake(e.finish(tk, rapid.Bool().Draw(t, "published"), true, status, time.Duration(rapid.IntRange(0, 3).Draw(t, "took"))*time.Second, now))
			case len(waiting) > 0:
				i := rapid.IntRange(0, len(waiting)-1).Draw(t, "who")
				tk := waiting[i]
				waiting = slices.Delete(waiting, i, i+1)
				left, woken := e.leave(tk, now)
				if !left {
					t.Fatal("a waiting ticket cannot leave")
				}
				unsaid = append(unsaid, tk)
				verdicts[tk] = true
				wake(woken)
			}
			following := 0
			for _, tk := range waiting {
				if tk.first == nil {
					continue
				}
				following++
				if !slices.Contains(tk.first.followers, tk) || !slices.Contains(e.targets[tk.target].open, tk.first) {
					t.Fatalf("%s waits for a first that does not know of it", tk.target)
				}
			}
			jobs := map[string]bool{}
			for _, tk := range slices.Concat(running, unsaid) {
				if job := fmt.Sprint(tk.target, tk.check, tk.slot, tk.id); tk.first == nil && slices.Contains(e.targets[tk.target].open, tk) {
					if jobs[job] {
						t.Fatalf("the job %s is in hand twice", job)
					}
					jobs[job] = true
				}
			}
			busy := map[string]bool{}
			inLane := [2]int{}
			for _, tk := range running {
				if busy[tk.target] {
					t.Fatalf("%s is polled twice at once", tk.target)
				}
				busy[tk.target] = true
				inLane[tk.lane]++
			}
			if inLane[fast] > e.limits.fast || e.lanes[fast].running != inLane[fast] || e.lanes[slow].running != inLane[slow] {
				t.Fatalf("%v run, the engine says %d and %d", inLane, e.lanes[fast].running, e.lanes[slow].running)
			}
			if got := e.lanes[fast].waiting + e.lanes[slow].waiting; got != len(waiting)-following {
				t.Fatalf("%d wait, the engine says %d", len(waiting)-following, got)
			}
			for i, l := range e.lanes {
				if l.queue.len() > 0 && e.room(i) {
					t.Fatalf("%d wait in lane %d while there is room", l.queue.len(), i)
				}
			}
			for _, tk := range waiting {
				if tk.first == nil && !e.targets[tk.target].busy {
					t.Fatalf("%s waits for a turn that nobody has", tk.target)
				}
			}
		}
	})
}
