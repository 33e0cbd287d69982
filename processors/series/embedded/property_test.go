package embedded_test

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"kemi.dev/kemi/bus/event"
	"kemi.dev/kemi/processors/series/embedded"
)

// Whatever a device does, reboots and restarts of its agent in any order, `increase` never says more than the device
// counted, and after a reboot that shows it misses only what came between the last poll and the boot.
func TestIncreaseIsNeverMoreThanTheTruth(t *testing.T) {
	s := open(t, t.TempDir())
	device := 0
	rapid.Check(t, func(rt *rapid.T) {
		device++
		name := fmt.Sprint("device-", device)
		counters := make([]uint64, rapid.IntRange(1, 3).Draw(rt, "counters"))
		truth, lost := make([]uint64, len(counters)), make([]uint64, len(counters))
		for i := range counters {
			counters[i] = 1e9 // So that nothing is extrapolated towards zero.
		}
		// unseen is what they grew since the last poll that was answered, seen what they were then.
		unseen, seen := make([]uint64, len(counters)), append([]uint64{}, counters...)
		grow := func() {
			for i := range counters {
				by := rapid.Uint64Range(0, 5000).Draw(rt, "growth")
				counters[i] += by
				truth[i] += by
				unseen[i] += by
			}
		}
		boot := -1000 * time.Hour
		polls := rapid.IntRange(2, 8).Draw(rt, "polls")
		hidden := false // A reboot after which no counter is below its last value looks like an agent's restart.
		for poll := range polls {
			at := time.Duration(poll) * 10 * sec
			happened := "nothing"
			if poll > 0 {
				happened = rapid.SampledFrom([]string{"nothing", "nothing", "reboot", "agent", "silence"}).Draw(rt, "happened")
			}
			switch happened {
			case "reboot":
				grow()
				for i := range counters {
					lost[i] += unseen[i]
					counters[i] = 0
				}
				boot = at - time.Duration(rapid.IntRange(1, 9).Draw(rt, "boot"))*sec
			case "agent":
				boot = at - time.Duration(rapid.IntRange(1, 9).Draw(rt, "boot"))*sec
			}
			grow()
			r := booted(reading(at, counters...), boot)
			if happened == "reboot" {
				hidden = hidden || !anyBelow(counters, seen)
			}
			if happened == "silence" && poll < polls-1 {
				r = down(at)
			} else {
				copy(seen, counters)
				clear(unseen)
			}
			r.Target, r.Labels = name, event.LabelsOf(map[string]string{"target": name})
			s.write(r)
		}
		for i := range counters {
			end := time.Duration(polls-1) * 10 * sec
			sampled := end.Seconds()
			got := s.value(fmt.Sprintf(`increase(octets{target=%q,ifIndex="%d"}[%ds]) * %v / %v`, name, i+1, int(sampled)+1, sampled, sampled+1), end)
			if got > float64(truth[i])+0.5 {
				rt.Fatalf("counter %d: increase says %v, the device counted %d", i, got, truth[i])
			}
			first := float64(firstGrowth(s, name, i))
			if want := float64(truth[i]-lost[i]) - first; !hidden && math.Abs(got-want) > 0.5 {
				rt.Fatalf("counter %d: increase says %v, want %v", i, got, want)
			}
		}
	})
}

// firstGrowth is what the first poll found beyond where the device began.
func firstGrowth(s *store, target string, i int) uint64 {
	got, err := s.Query(s.t.Context(), fmt.Sprintf(`octets{target=%q,ifIndex="%d"}`, target, i+1), start)
	if err != nil || len(got) != 1 {
		s.t.Fatalf("first value of %s: %v, %v", target, got, err)
	}
	return uint64(got[0].Points[0].V) - 1e9
}

func anyBelow(now, before []uint64) bool {
	for i := range now {
		if now[i] < before[i] {
			return true
		}
	}
	return false
}

// childDir tells the test's own process, started again, to be the one that is killed.
const childDir = "KEMI_TEST_STORE"

func TestWhatWasAcknowledgedSurvivesKill9(t *testing.T) {
	if dir := os.Getenv(childDir); dir != "" {
		writeForEver(t, dir)
		return
	}
	dir := t.TempDir()
	child := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestWhatWasAcknowledgedSurvivesKill9$")
	child.Env = append(os.Environ(), childDir+"="+dir)
	out, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	acknowledged := 0
	for lines := bufio.NewScanner(out); acknowledged < 200 && lines.Scan(); {
		if n, err := strconv.Atoi(strings.TrimPrefix(lines.Text(), "stored ")); err == nil {
			acknowledged = n
		}
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = child.Wait()
	if acknowledged < 200 {
		t.Fatalf("the child ended after %d readings", acknowledged)
	}
	s := open(t, dir)
	if _, ok := s.Rewind(); !ok {
		t.Error("the store does not know that it was killed")
	}
	at := time.Duration(acknowledged) * sec
	s.expect(`octets{ifIndex="1"}`, at, float64(acknowledged))
	s.expect(fmt.Sprintf(`count_over_time(octets{ifIndex="2"}[%ds])`, acknowledged+1), at, float64(acknowledged+1))
}

func writeForEver(t *testing.T, dir string) {
	s := embedded.New(embedded.Options{Config: embedded.Default(), Dir: dir})
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	w := s.Writer(0)
	for i := 0; ; i++ {
		if _, err := w.Write(t.Context(), []*event.Reading{reading(time.Duration(i)*sec, uint64(i), 7)}); err != nil {
			t.Fatal(err)
		}
		fmt.Println("stored", i)
	}
}
