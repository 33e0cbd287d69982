package mem_test

import (
	"sync"
	"testing"
	"time"

	"kemi.dev/kemi/bus/bustest"
	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/mem"
)

func TestConformance(t *testing.T) {
	bustest.Run(t, func(t *testing.T) bustest.Harness {
		first := mem.New()
		var mu sync.Mutex
		var open []*mem.Driver
		one := func() driver.Driver {
			mu.Lock()
			defer mu.Unlock()
			d := first.Open()
			open = append(open, d)
			t.Cleanup(func() { d.Close() })
			return d
		}
		return bustest.Harness{
			Open: one,
			Reopen: func() driver.Driver {
				for _, d := range open {
					d.Close()
				}
				return one()
			},
			Lose:    func(d driver.Driver) { d.(*mem.Driver).Lose() },
			Remove:  func(topic string) { first.Remove(topic) },
			Dedupes: true,
			Hold:    300 * time.Millisecond, // A broker in memory has no time of its own.
		}
	})
}
