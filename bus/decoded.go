package bus

import (
	"hash/maphash"
	"maps"
	"sync"
	"weak"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
)

// decoded are the events of topics that say so (event.Topic.Shared), for as long as anybody keeps them, whether they were
// published here or read: several rooms of one process keep the same 100,000 alerts, and each copy is a kilobyte and a half and
// has to be decoded. It keeps nothing alive itself.
type decoded struct {
	seed maphash.Seed
	mu   sync.Mutex
	// known are weak pointers of the word's type.
	known map[spot]any
	// sweep is how many may be known until those that nobody keeps are looked for.
	sweep int
	slim  event.Slim
}

// spot is what a record says of a key.
type spot struct {
	topic, key string
	sum        uint64
}

func (all *decoded) spot(r *driver.Record) spot {
	return spot{r.Topic, r.Key, maphash.Bytes(all.seed, r.Value)}
}

// sweepFrom is how many are known before it is worth the while to look for those that nobody keeps.
const sweepFrom = 4096

func newDecoded() *decoded {
	return &decoded{seed: maphash.MakeSeed(), known: map[spot]any{}, sweep: sweepFrom}
}

// decodeOnce decodes a delivered record, or returns what another reader got of it and still has.
func decodeOnce[T any, W event.Word[T]](b *Bus, d *driver.Delivery) (*T, error) {
	if !b.topics[d.Record.Topic].Shared {
		return decode[T, W](&d.Record)
	}
	all := b.decoded
	at := all.spot(&d.Record)
	all.mu.Lock()
	have := kept[T](all.known[at])
	all.mu.Unlock()
	if have != nil {
		return have, nil
	}
	mine, err := decode[T, W](&d.Record)
	if err != nil {
		return nil, err
	}
	if a, is := any(mine).(*event.Alert); is {
		all.slim.Alert(a)
		if a.ID == at.key {
			at.key = a.ID // The record's is a part of a longer text.
		}
	}
	return keep(all, at, mine), nil
}

// published has those who read an event in this process find it as it is.
func (all *decoded) published(e event.Event, r *driver.Record) {
	if a, is := e.(*event.Alert); is {
		keep(all, all.spot(r), a)
	}
}

// keep takes in what a record says; when another was faster it is that one's.
func keep[T any](all *decoded, at spot, mine *T) *T {
	all.mu.Lock()
	defer all.mu.Unlock()
	if have := kept[T](all.known[at]); have != nil {
		return have
	}
	if len(all.known) >= all.sweep {
		maps.DeleteFunc(all.known, func(_ spot, p any) bool {
			w, is := p.(weak.Pointer[T]) // Some may be of another type, and in use.
			return is && w.Value() == nil
		})
		all.sweep = max(sweepFrom, 2*len(all.known))
	}
	all.known[at] = weak.Make(mine)
	return mine
}

// kept is what a weak pointer points to; nil when nobody keeps it any more, or there is none.
func kept[T any](p any) *T {
	if p, is := p.(weak.Pointer[T]); is {
		return p.Value()
	}
	return nil
}
