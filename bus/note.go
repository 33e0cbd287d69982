package bus

import (
	"context"

	"kemi.dev/kemi/bus/driver"
)

// A note is a small piece of state of a room that owns no partition, such as when the scheduler last looked at the
// clock. Notes are kept with the state of the desks, newest per name, and are not fenced: the last writer wins.

const notePrefix = "note/"

// SaveNote keeps data under a name, which begins with the room's; nil forgets it. It survives what event.Process does.
func (b *Bus) SaveNote(ctx context.Context, name string, data []byte) error {
	key := notePrefix + name
	return b.store(ctx, []driver.Record{{
		Topic: topicState.Name, Partition: Partition(key, topicState.Partitions), Key: key, Value: data,
	}}, nil)
}

// LoadNote returns what was saved last under a name, nil when there is nothing.
func (b *Bus) LoadNote(ctx context.Context, name string) ([]byte, error) {
	key := notePrefix + name
	feed, err := b.subscribe(ctx, driver.Subscription{
		Topic: topicState.Name, Start: From{Snapshot: true}, Partitions: []int{Partition(key, topicState.Partitions)},
	})
	if err != nil {
		return nil, err
	}
	defer feed.Close()
	var data []byte
	for {
		batch, err := feed.Next(ctx)
		if err != nil {
			return nil, err
		}
		for _, d := range batch {
			switch {
			case d.Event == driver.CaughtUp:
				return data, nil
			case d.Event == driver.Data && d.Record.Key == key:
				data = d.Record.Value
			}
		}
	}
}
