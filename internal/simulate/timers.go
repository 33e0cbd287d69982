package simulate

import (
	"container/heap"
	"context"
	"sync"
	"time"
)

// timers runs things later, all of them on one goroutine and in the order of
// their times; equal times keep the order they were added in.
type timers struct {
	mu   sync.Mutex
	heap timerHeap
	seq  uint64
	wake chan struct{}
}

type timer struct {
	at  time.Time
	seq uint64
	do  func()
}

func newTimers() *timers { return &timers{wake: make(chan struct{}, 1)} }

// add has do run at the given time. It reports false, and drops do, when limit
// is above zero and that many things wait already.
func (t *timers) add(at time.Time, limit int, do func()) bool {
	t.mu.Lock()
	if limit > 0 && len(t.heap) >= limit {
		t.mu.Unlock()
		return false
	}
	t.seq++
	heap.Push(&t.heap, timer{at, t.seq, do})
	first := t.heap[0].seq == t.seq
	t.mu.Unlock()
	if first {
		select {
		case t.wake <- struct{}{}:
		default: // already told
		}
	}
	return true
}

// due takes the first timer when its time has come; otherwise it tells how
// long to wait, negative when there is none.
func (t *timers) due(now time.Time) (do func(), wait time.Duration) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.heap) == 0 {
		return nil, -1
	}
	if wait = t.heap[0].at.Sub(now); wait > 0 {
		return nil, wait
	}
	return heap.Pop(&t.heap).(timer).do, 0
}

func (t *timers) run(ctx context.Context, now func() time.Time) {
	alarm := time.NewTimer(time.Hour)
	defer alarm.Stop()
	for ctx.Err() == nil {
		do, wait := t.due(now())
		if do != nil {
			do()
			continue
		}
		if wait < 0 {
			wait = time.Hour
		}
		alarm.Reset(wait)
		select {
		case <-ctx.Done():
		case <-t.wake:
		case <-alarm.C:
		}
	}
}

type timerHeap []timer

func (h timerHeap) Len() int      { return len(h) }
func (h timerHeap) Swap(i, j int) { h[i], h[j] = h[j], h[i] }
func (h timerHeap) Less(i, j int) bool {
	if !h[i].at.Equal(h[j].at) {
		return h[i].at.Before(h[j].at)
	}
	return h[i].seq < h[j].seq
}
func (h *timerHeap) Push(x any) { *h = append(*h, x.(timer)) }
func (h *timerHeap) Pop() any {
	old := *h
	last := old[len(old)-1]
	old[len(old)-1] = timer{}
	*h = old[:len(old)-1]
	return last
}
