package alerting

import (
	"fmt"
	"syscall"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// cpu is the CPU time this process has used.
func cpu(b *testing.B) time.Duration {
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// until plays seconds until done, and returns the CPU time of the most expensive of them.
func (s *stage) until(b *testing.B, done func() bool) (most time.Duration) {
	for range 600 {
		began := cpu(b)
		s.now = s.now.Add(time.Second)
		out := s.desk.Step(s.now)
		most = max(most, cpu(b)-began)
		s.take(out)
		if done() {
			return most
		}
	}
	b.Fatalf("it never came to it\n%s", s.said.String())
	return 0
}

// BenchmarkRerootAmong100000: people were told of one of 500 switches; then the core above is heard to be down. What
// the verdict costs, and the most expensive second until those who were told know of the core.
func BenchmarkRerootAmong100000(b *testing.B) {
	s := newStage(b, DefaultPolicy())
	site(s, 100_000)
	var verdict, second time.Duration
	for b.Loop() {
		told := len(s.pages)
		s.verdict("core-1", event.VerdictOK)
		s.now = s.now.Add(time.Second)
		s.verdict("tor-0", event.VerdictFiring)
		s.alert("tor-0", "TargetDown", event.AlertFiring)
		s.now = s.now.Add(time.Second)
		s.verdict("core-1", event.VerdictOK) // Asked, it answered.
		s.until(b, func() bool { return len(s.pages) == told+1 })
		began := cpu(b)
		s.verdict("core-1", event.VerdictFiring)
		verdict += cpu(b) - began
		second += s.until(b, func() bool { return len(s.pages) == told+2 })
		if p := s.pages[told+1]; p.Kind != event.PageUpdate || p.Snapshot.Cause != "core-1" || p.Snapshot.SuppressedTotal != 99_999 {
			b.Fatalf("told %s: %s, %d behind it", p.Kind, p.Title, p.Snapshot.SuppressedTotal)
		}
		s.verdict("core-1", event.VerdictOK)
		s.verdict("tor-0", event.VerdictOK)
		s.alert("tor-0", "TargetDown", event.AlertResolved)
		s.until(b, func() bool { return s.desk.Open() == 0 })
		s.now = s.now.Add(time.Hour)
	}
	report := func(d time.Duration, unit string) { b.ReportMetric(d.Seconds()*1000/float64(b.N), unit) }
	report(verdict, "verdict-cpu-ms")
	report(second, "second-cpu-ms")
}

// BenchmarkSecondOf100000 is a second in which nothing happens to 100,000 alerts that fire: on as many targets of which
// nothing is known, which are one incident of similar alerts, and behind one cause.
func BenchmarkSecondOf100000(b *testing.B) {
	const n = 100_000
	quiet := func(b *testing.B, s *stage) {
		for range 120 {
			s.now = s.now.Add(time.Second)
			s.desk.Step(s.now)
		}
		if len(s.desk.alerts) != n {
			b.Fatalf("%d alerts fire", len(s.desk.alerts))
		}
		b.ReportAllocs()
		began := cpu(b)
		for b.Loop() {
			s.now = s.now.Add(time.Second)
			s.desk.Step(s.now)
		}
		b.ReportMetric((cpu(b)-began).Seconds()*1000/float64(b.N), "cpu-ms/s")
		b.ReportMetric(float64(s.desk.Open()), "incidents")
	}
	b.Run("apart", func(b *testing.B) {
		s := newStage(b, DefaultPolicy())
		for i := range n {
			id := fmt.Sprint("host-", i)
			s.target([]string{"target", id, "server", "rack-" + fmt.Sprint(i/40), "nochecks"})
			s.alertAt(id, event.AlertFiring, s.now, s.now)
		}
		quiet(b, s)
	})
	b.Run("one cause", func(b *testing.B) {
		s := newStage(b, DefaultPolicy())
		for _, id := range site(s, n) {
			s.saw(id, event.VerdictFiring, s.now)
			s.alertAt(id, event.AlertFiring, s.now, s.now)
		}
		quiet(b, s)
	})
}
