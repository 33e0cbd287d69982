package alerting

import (
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"kemi.dev/kemi/bus/event"
)

// Verdicts on who answers are heard also when the topic they are on was removed, and made again, before somebody else took
// over: however far the one before had been read, and however much is on the new one by then. Whoever was told that
// something is down is told that it is up.
func TestAVerdictOfALogThatBeganAnewIsHeard(t *testing.T) {
	for _, before := range []int{0, 5, 100} { // Verdicts on the new log when the one comes that matters.
		for _, after := range []int{0, 100} {
			bubble(t, func(t *testing.T, h *house) {
				others := func(n int) {
					for i := range n {
						h.verdict(fmt.Sprint("other-", i), event.VerdictOK, time.Now())
					}
				}
				h.target("core-1", "switch", "net")
				time.Sleep(2 * time.Second)
				others(40)
				h.down("core-1", "net")
				time.Sleep(2 * time.Minute) // By then it is written down how far was read.
				h.stop()
				h.d.Remove("findings.v1")
				others(before)
				h.up("core-1", "net")
				others(after)
				time.Sleep(time.Minute)
				h.start()
				time.Sleep(time.Minute)
				want := []string{"firing core-1 (switch) is down", "resolved core-1 (switch) is up again after 3m0s"}
				if d := cmp.Diff(want, h.told("net-box")); d != "" {
					t.Errorf("%d verdicts before and %d after: %s", before, after, d)
				}
			})
		}
	}
}
