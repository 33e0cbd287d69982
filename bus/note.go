package bus

import (
	"context"
	"strings"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// A note is a small piece of state of a room that owns no partition, or that others are to see, such as how the sources
// of targets are. Notes are kept with the state of the desks, newest per name, and are not fenced: the last writer wins.

const notePrefix = "note/"

// noteAt is the key and the partition of a note.
func noteAt(name string) (key string, partition int) {
	key = notePrefix + name
	return key, Partition(key, topicState.Partitions)
}

// SaveNote keeps data under a name, which begins with the room's; nil forgets it. It survives what event.Process does.
func (b *Bus) SaveNote(ctx context.Context, name string, data []byte) error {
	key, partition := noteAt(name)
	return b.store(ctx, []driver.Record{{Topic: topicState.Name, Partition: partition, Key: key, Value: data}}, nil)
}

// LoadNote returns what was saved last under a name, nil when there is nothing. It reads the partition that the note is
// in: who wants to know again and again follows it.
func (b *Bus) LoadNote(ctx context.Context, name string) (data []byte, err error) {
	key, partition := noteAt(name)
	err = b.readStored(ctx, topicState.Name, partition, From{Snapshot: true}, func(d *driver.Delivery) error {
		if d.Record.Key == key {
			data = d.Record.Value
		}
		return nil
	})
	return data, err
}

// FollowNote hands over what is saved under a name, now and whenever it changes, nil when it was forgotten, until ctx ends.
func (b *Bus) FollowNote(ctx context.Context, name string, handle func(data []byte)) error {
	key, partition := noteAt(name)
	return b.followNotes(ctx, partition, []string{key}, func(d *driver.Delivery) {
		if d.Record.Key == key {
			handle(d.Record.Value)
		}
	})
}

// SaveNoteIn is SaveNote in a folder, whose notes are followed together.
func (b *Bus) SaveNoteIn(ctx context.Context, folder, name string, data []byte) error {
	key, partition := noteAt(folder)
	return b.store(ctx, []driver.Record{{Topic: topicState.Name, Partition: partition, Key: key + "/" + name, Value: data}}, nil)
}

// FollowNotes is FollowNote for all that is in a folder, each with when the broker stored it.
func (b *Bus) FollowNotes(ctx context.Context, folder string, handle func(name string, data []byte, stored time.Time)) error {
	key, partition := noteAt(folder)
	return b.followNotes(ctx, partition, nil, func(d *driver.Delivery) {
		if name, in := strings.CutPrefix(d.Record.Key, key+"/"); in {
			handle(name, d.Record.Value, d.Stored)
		}
	})
}

// followNotes hands over the records of some keys, nil is all, and maybe others.
func (b *Bus) followNotes(ctx context.Context, partition int, keys []string, handle func(*driver.Delivery)) error {
	feed, err := b.subscribe(ctx, driver.Subscription{Topic: topicState.Name, Start: From{Snapshot: true}, Partitions: []int{partition}, Keys: keys})
	if err != nil {
		return ended(ctx, err)
	}
	defer feed.Close()
	for {
		batch, err := feed.Next(ctx)
		if err != nil {
			return ended(ctx, err)
		}
		for i := range batch {
			if batch[i].Event == driver.Data {
				handle(&batch[i])
			}
		}
	}
}
