package alerting

import (
	"fmt"
	"testing"
	"time"

	"kemi.dev/kemi/bus/event"
)

// A pass over many unsent pages to a receiver that takes them one after the other: it costs what is due.
func BenchmarkLedgerPass(b *testing.B) {
	for _, n := range []int{10_000, 100_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			policy := DefaultPolicy()
			policy.ReceiverLimit = 0
			l := NewLedger(policy, func(string) bool { return true })
			now := time.Date(2026, 11, 21, 22, 0, 0, 0, time.UTC)
			for i := range n {
				l.Take(intent(fmt.Sprint(i), "hook", event.PageFiring, now), now)
			}
			l.Lines()
			for _, p := range l.Due(now) { // It sweeps, too.
				l.Outcome(Outcome{Page: p.ID}, now)
			}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				l.Review(now)
				for _, p := range l.Due(now) {
					if l.Outcome(Outcome{Page: p.ID}, now) == nil {
						b.Fatal("no line")
					}
				}
				if l.Unsent() == 0 {
					b.StopTimer()
					for k := range n {
						l.Take(intent(fmt.Sprint(i, "/", k), "hook", event.PageFiring, now), now)
					}
					l.Lines()
					b.StartTimer()
				}
			}
		})
	}
}
