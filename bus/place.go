package bus

import (
	"sync"

	"kemi.dev/kemi/bus/event"
)

// places are the partitions that this process owns.
type places struct {
	mu  sync.Mutex
	all map[place]int // Members of one process may be several; the one that leaves may be heard of last.
}

type place struct {
	topic, group string
	partition    int
}

func (p *places) add(topic, group string, partition int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.all == nil {
		p.all = map[place]int{}
	}
	p.all[place{topic, group, partition}]++
}

func (p *places) remove(topic, group string, partition int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := place{topic, group, partition}
	if p.all[at]--; p.all[at] <= 0 {
		delete(p.all, at)
	}
}

// Owns reports whether what goes by the route on the topic is handed to the group in this process.
func (b *Bus) Owns(group string, topic event.Topic, route string) bool {
	b.owned.mu.Lock()
	defer b.owned.mu.Unlock()
	return b.owned.all[place{topic.Name, group, Partition(route, topic.Partitions)}] > 0
}
