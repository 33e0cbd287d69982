package bus

import (
	"cmp"
	"context"
	"maps"
	"sync"
	"time"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
)

// observeEvery is how often the broker is asked how far the groups are: some questions a topic.
const observeEvery = 30 * time.Second

// Observe keeps the metrics that the broker has to be asked for: how much the topics hold, how many records wait for each
// group, and how many dead letters nobody did anything about. One process of an installation is enough. It blocks until ctx ends.
func (b *Bus) Observe(ctx context.Context) error {
	lag := b.scope.Gauge("kemi_bus_group_lag_records", "Records of a topic that a group has not handled yet, looked up every 30 s.", "topic", "group")
	letters := b.scope.Gauge("kemi_bus_dead_letters", "Dead letters that were neither retried nor dropped, by the topic they are from.", "topic")
	used := b.scope.Gauge("kemi_bus_topic_bytes", "Bytes that a topic holds, looked up every 30 s.", "topic")
	limit := b.scope.Gauge("kemi_bus_topic_limit_bytes", "Bytes that a topic may hold before it refuses or forgets the oldest.", "topic")
	defer used.Reset()
	defer limit.Reset()
	open := openLetters{topics: b.topics, all: map[int64]string{}}
	var reading sync.WaitGroup
	defer reading.Wait()
	reading.Go(func() { b.countLetters(ctx, &open) })
	tick := time.NewTicker(observeEvery)
	defer tick.Stop()
	said := map[[2]string]bool{}
	for {
		now := map[[2]string]bool{}
		for name := range b.topics {
			have, most, ok := b.holds(ctx, name)
			if ok {
				used.WithLabelValues(name).Set(float64(have))
				limit.WithLabelValues(name).Set(float64(most))
			} else {
				used.DeleteLabelValues(name)
				limit.DeleteLabelValues(name)
			}
			if b.Health() != nil {
				continue // Nobody knows; asking would take its time for each topic.
			}
			for group, n := range b.lags(ctx, name, &open) {
				at := [2]string{name, group}
				now[at] = true
				lag.WithLabelValues(name, group).Set(float64(n))
			}
		}
		for at := range said {
			if !now[at] {
				lag.DeleteLabelValues(at[0], at[1])
			}
		}
		said = now
		letters.Reset()
		for topic, n := range open.count() {
			letters.WithLabelValues(topic).Set(float64(n))
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// holds asks how many bytes a topic holds and may hold; false when nobody says.
func (b *Bus) holds(ctx context.Context, topic string) (used, limit int64, ok bool) {
	if b.sizer == nil || b.Health() != nil {
		return 0, 0, false
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	used, limit, err := b.sizer.Size(ctx, topic)
	if err != nil {
		b.scope.Log().Debug("look up the size of a topic", "topic", topic, "err", err)
	}
	return used, limit, err == nil
}

// lags asks how many records wait for each group of a topic.
func (b *Bus) lags(ctx context.Context, topic string, open *openLetters) map[string]int64 {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	info, err := b.Inspect(ctx, topic)
	if err != nil {
		b.scope.Log().Debug("look up how far the groups are", "topic", topic, "err", err)
		return nil
	}
	if topic == topicDead.Name && len(info.Partitions) == 1 {
		open.forget(info.Partitions[0].First)
	}
	all := map[string]int64{}
	for _, g := range info.Groups {
		if abandoned(g, info.Partitions) {
			continue
		}
		for _, p := range g.Partitions {
			all[g.Name] += p.Lag
		}
	}
	return all
}

// abandoned says that nobody is in a group any more, and not since what it would read next went: such as that of a store
// that was taken away.
func abandoned(g driver.GroupInfo, partitions []driver.PartitionInfo) bool {
	first := map[int]int64{}
	for _, p := range partitions {
		first[p.Partition] = p.First
	}
	for _, p := range g.Partitions {
		if p.Owner != "" || p.Partition < 0 || p.Next >= first[p.Partition] {
			return false
		}
	}
	return len(g.Partitions) > 0
}

// countLetters follows dead.v1 for ever.
func (b *Bus) countLetters(ctx context.Context, open *openLetters) {
	feed, err := b.subscribe(ctx, driver.Subscription{Topic: topicDead.Name})
	if err != nil {
		return // The bus was closed, or was never opened.
	}
	defer feed.Close()
	for {
		batch, err := feed.Next(ctx)
		if err != nil {
			return
		}
		for i := range batch {
			if batch[i].Event == driver.Data {
				open.take(&batch[i])
			}
		}
	}
}

// openLetters are the positions of the letters that are not done, each with the topic it is from.
type openLetters struct {
	topics map[string]event.Topic
	mu     sync.Mutex
	all    map[int64]string
}

func (o *openLetters) take(d *driver.Delivery) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if m, ok := parseDone(&d.Record); ok {
		for _, id := range m.Letters {
			delete(o.all, id)
		}
		return
	}
	from := "unknown" // A stranger may write anything there.
	if t, known := o.topics[cmp.Or(d.Record.Header(deadTopic), topicDead.Name)]; known {
		from = t.Name
	}
	o.all[d.Position] = from
}

// forget leaves out what is no longer there: all before a position.
func (o *openLetters) forget(before int64) {
	o.mu.Lock()
	defer o.mu.Unlock()
	maps.DeleteFunc(o.all, func(position int64, _ string) bool { return position < before })
}

func (o *openLetters) count() map[string]int {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := map[string]int{}
	for _, topic := range o.all {
		n[topic]++
	}
	return n
}
