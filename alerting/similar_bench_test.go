package alerting

import (
	"fmt"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// BenchmarkSimilar10000 is a flood of 10,000 similar alerts of which no cause is known, a hundred at a time: each goes into
// the incident of those before it.
func BenchmarkSimilar10000(b *testing.B) {
	var used time.Duration
	for b.Loop() {
		s := newStage(b, DefaultPolicy())
		for i := range 10_000 {
			s.target([]string{"target", fmt.Sprint("host-", i), "server", "nochecks"})
		}
		began := cpu(b)
		for i := range 10_000 {
			if s.alertAt(fmt.Sprint("host-", i), event.AlertFiring, s.now, s.now); i%100 == 99 {
				s.now = s.now.Add(100 * time.Millisecond)
				s.take(s.desk.Step(s.now))
			}
		}
		used += cpu(b) - began
		s.until(b, func() bool { return s.desk.Open() == 1 && len(s.pages) == 1 })
	}
	b.ReportMetric(used.Seconds()*1000/float64(b.N), "cpu-ms")
}
