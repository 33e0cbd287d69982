package expr

import (
	"time"

	"github.com/prometheus/prometheus/model/labels"
)

// Lookback is how old a series' newest sample may be for an instant selector to see it: Prometheus' default.
const Lookback = 5 * time.Minute

// Series is what an expression knows of one series: its newest sample and, if a range selector wants it, a window.
type Series struct {
	// Labels with the metric's name among them.
	Labels labels.Labels
	// T and V are the newest sample; T is in Unix milliseconds and only grows.
	T int64
	V float64
	// Gone says that the series has ended since, until it has a new sample.
	Gone bool
	// any says that there ever was a sample.
	any    bool
	window Window
	// keep is how long the window must reach back, in milliseconds; 0 means that there is no window.
	keep int64
}

// Keep makes sure that the window reaches back that far. A window that is not needed any more (0) is dropped.
func (s *Series) Keep(reach time.Duration) {
	s.keep = reach.Milliseconds()
	if s.keep == 0 {
		s.window = Window{}
	}
}

// Add takes a sample. One that is not newer than the newest is ignored, as a store that takes no old samples would.
func (s *Series) Add(t int64, v float64) {
	if s.any && t <= s.T {
		return
	}
	s.T, s.V, s.Gone, s.any = t, v, false, true
	if s.keep > 0 {
		s.window.push(t, v, t-s.keep)
	}
}

// Restart says that the counter began at zero at t, before its next sample: without that, one that has overtaken its
// old value since would seem to have gone on from there.
func (s *Series) Restart(t int64) {
	w := &s.window
	if s.keep > 0 && (len(w.points) == w.head || w.points[len(w.points)-1].t < t) {
		w.push(t, 0, t-s.keep)
	}
}

// End says that the series has no sample at t though it could have had one.
func (s *Series) End(t int64) {
	if !s.any || t > s.T {
		s.T, s.Gone, s.any = t, true, true
	}
}

// now returns the sample that an instant selector sees at t.
func (s *Series) now(t int64) (float64, bool) {
	return s.V, s.any && !s.Gone && s.T > t-Lookback.Milliseconds()
}

// point is one sample in a window.
type point struct {
	t int64
	v float64
}

// Window holds the newest samples of a series, oldest first, in one piece of memory.
type Window struct {
	points []point
	head   int
}

// push appends a sample and drops those at or before the limit.
func (w *Window) push(t int64, v float64, limit int64) {
	for w.head < len(w.points) && w.points[w.head].t <= limit {
		w.head++
	}
	// When the memory is used up, what was dropped makes room before more is asked for.
	if len(w.points) == cap(w.points) && w.head > 0 {
		w.points = w.points[:copy(w.points, w.points[w.head:])]
		w.head = 0
	}
	w.points = append(w.points, point{t, v})
}

// since returns the samples after a time.
func (w *Window) since(t int64) []point {
	live := w.points[w.head:]
	lo, hi := 0, len(live)
	if hi > 0 && live[0].t > t {
		return live
	}
	for lo < hi {
		mid := int(uint(lo+hi) >> 1)
		if live[mid].t > t {
			hi = mid
		} else {
			lo = mid + 1
		}
	}
	return live[lo:]
}
