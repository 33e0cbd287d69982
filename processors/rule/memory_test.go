package rule_test

import (
	"runtime"
	"testing"

	"kemi.dev/kemi/processors/rule"
	"kemi.dev/kemi/processors/sample"
)

// TestMemoryOfATarget bounds what the rules keep of a standard device with 30 readings in its windows, beside the
// series themselves.
func TestMemoryOfATarget(t *testing.T) {
	const targets = 20
	measure := func(feed func(target string, i int)) uint64 {
		var before, after runtime.MemStats
		runtime.GC()
		runtime.ReadMemStats(&before)
		for n := range targets {
			for i := range 30 {
				feed(string(rune('a'+n)), i)
			}
		}
		runtime.GC()
		runtime.ReadMemStats(&after)
		return (after.HeapAlloc - before.HeapAlloc) / targets
	}
	x := sample.New()
	series := measure(func(target string, i int) { x.Expand(device(target, i)) })
	desk := rule.NewDesk(parse(t, standardRules))
	whole := measure(func(target string, i int) { desk.Reading(device(target, i)); desk.Findings() })
	runtime.KeepAlive(x)
	runtime.KeepAlive(desk)
	t.Logf("series %d bytes, rules %d bytes a target", series, int64(whole)-int64(series))
	if whole > series+100_000 {
		t.Errorf("the rules keep %d bytes of a target of 200 selected series", whole-series)
	}
}
