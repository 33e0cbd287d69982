package bus

import (
	"hash/maphash"
	"sync"
	"weak"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/event"
)

// shared are the decoded events of topics that say so (event.Topic.Shared), for as long as any reader keeps them: several
// rooms of one process keep the same 100,000 alerts, and each copy is a kilobyte and has to be decoded. It keeps nothing
// alive itself.
type shared struct {
	seed maphash.Seed
	mu   sync.Mutex
	// known are weak pointers of the word's type.
	known map[spot]any
	// sweep is how many may be known until those that nobody keeps are looked for.
	sweep int
}

// spot is a record and what it says: a topic that was made again has others at the same positions.
type spot struct {
	topic     string
	partition int
	position  int64
	sum       uint64
}

// sweepFrom is how many are known before it is worth the while to look for those that nobody keeps.
const sweepFrom = 4096

func newShared() *shared {
	return &shared{seed: maphash.MakeSeed(), known: map[spot]any{}, sweep: sweepFrom}
}

// shareOf decodes a delivered record, or returns what another reader got of it and still has.
func shareOf[T any, W event.Word[T]](b *Bus, d *driver.Delivery) (*T, error) {
	s := b.shared
	if !b.topics[d.Record.Topic].Shared {
		return decode[T, W](&d.Record)
	}
	at := spot{d.Record.Topic, d.Partition, d.Position, maphash.Bytes(s.seed, d.Record.Value)}
	if have := look[T](s, at); have != nil {
		return have, nil
	}
	mine, err := decode[T, W](&d.Record)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.known[at].(weak.Pointer[T]); ok {
		if have := p.Value(); have != nil {
			return have, nil // Another was faster.
		}
	}
	if len(s.known) >= s.sweep {
		for k, p := range s.known {
			if p, ok := p.(weak.Pointer[T]); ok && p.Value() == nil {
				delete(s.known, k)
			}
		}
		s.sweep = max(sweepFrom, 2*len(s.known))
	}
	s.known[at] = weak.Make(mine)
	return mine, nil
}

func look[T any](s *shared, at spot) *T {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p, ok := s.known[at].(weak.Pointer[T]); ok {
		return p.Value()
	}
	return nil
}
