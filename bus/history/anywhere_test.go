package history

import (
	"testing"

	"kemi.dev/kemi/bus/driver"
)

// A driver may store work in another partition than was asked for: it is the same record all the same.
func TestWorkIsFoundInAnyPartition(t *testing.T) {
	for kind, ok := range map[driver.Kind]bool{driver.Work: true, driver.Log: false} {
		c := NewChecker(Rules{Unfinished: true})
		at := int64(0)
		add := func(e Event) {
			at += 10
			e.Process, e.Topic, e.At, e.Ended, e.Outcome = "a", "t", at, at+5, OK
			c.Add(&e)
		}
		add(Event{Op: OpTopic, Spec: &driver.Topic{Name: "t", Kind: kind, Partitions: 4}})
		add(Event{Op: OpPublish, Records: []Item{{Topic: "t", Partition: 3, Key: "k", ID: "1"}}})
		add(Event{Op: OpSubscribe, Feed: 1, Start: &driver.Start{}})
		add(Event{Op: OpData, Feed: 1, Partition: 2, Position: 7, Item: &Item{Key: "k", ID: "1"}})
		add(Event{Op: OpCaughtUp, Feed: 1, Partition: -1})
		if v := c.Verdict(); v.OK() != ok || (v.Counts.Lost == 0) != ok {
			t.Errorf("kind %d: %s", kind, v)
		}
	}
}
