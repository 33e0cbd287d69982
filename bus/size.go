package bus

import (
	"context"
	"sync/atomic"
	"time"
)

const (
	lookEvery = 30 * time.Second
	warnEvery = time.Hour
	nearlyAt  = 0.8
)

// size is when the size of a topic was looked up, and warned of: Unix nanoseconds of the next time.
type size struct{ look, warn atomic.Int64 }

// due says whether it is time, and sets the next one.
func due(next *atomic.Int64, now time.Time, every time.Duration) bool {
	at := next.Load()
	return now.UnixNano() >= at && next.CompareAndSwap(at, now.Add(every).UnixNano())
}

// look has the size of a topic looked up when that is due, without waiting for it. Only what is published to fills up.
func (b *Bus) look(topic string) {
	s := b.sizes[topic]
	if s == nil || b.sizer == nil || !due(&s.look, time.Now(), lookEvery) {
		return
	}
	go func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		b.measure(ctx, topic, s)
	}()
}

func (b *Bus) measure(ctx context.Context, topic string, s *size) {
	used, limit, err := b.sizer.Size(ctx, topic)
	if err != nil {
		b.scope.Log().Debug("look up the size of a topic", "topic", topic, "err", err)
		return
	}
	full := limit > 0 && float64(used) >= nearlyAt*float64(limit) && !b.topics[topic].DropOldest
	if full && due(&s.warn, time.Now(), warnEvery) {
		b.scope.Log().Warn("a topic is nearly full: when it is, publishing to it is refused", "topic", topic, "bytes", used, "limit", limit)
	}
}
