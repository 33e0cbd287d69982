package main

import (
	"context"
	"os"
	"runtime/debug"
	"time"
)

const (
	// startGC is how much garbage there may be, in percent of what is in use, while Kemi takes in again what was stored: it
	// reads all of that several times then, and what is in use is the most it ever is. It costs a tenth more CPU time.
	startGC = 50
	// startAtMost ends that for a process that cannot get ready.
	startAtMost = 15 * time.Minute
)

// frugal keeps the memory of a start low until Kemi is ready, and gives back to the system then what only the start needed:
// Go by itself would keep it for minutes. It leaves alone a process whose GOGC somebody has set. It returns when ctx ends.
func frugal(ctx context.Context, ready func() bool) {
	if os.Getenv("GOGC") == "" {
		usual := debug.SetGCPercent(startGC)
		defer debug.SetGCPercent(usual)
		began := time.Now()
		tick := time.NewTicker(time.Second)
		defer tick.Stop()
		for !ready() && time.Since(began) < startAtMost {
			select {
			case <-tick.C:
			case <-ctx.Done():
				return
			}
		}
		debug.SetGCPercent(usual)
		debug.FreeOSMemory()
	}
	<-ctx.Done()
}
