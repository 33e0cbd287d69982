package history

import (
	"testing"
	"time"

	"kemi.dev/kemi/bus/driver"
)

// Work that was acknowledged in one epoch and is given again in another is told apart by the fault, not by the attempts:
// the new owner may not know how many there were.
func TestAcknowledgedWorkComesAgainToANewOwnerOnlyAroundAFault(t *testing.T) {
	for _, attempt := range []int{1, 2, 3} {
		for _, fault := range []bool{false, true} {
			c := NewChecker(Rules{Unfinished: true, AckDelay: time.Nanosecond})
			at := int64(0)
			add := func(e Event) {
				at += 10
				e.Process, e.Topic, e.Group, e.At, e.Ended, e.Outcome = "a", "t", "g", at, at+5, OK
				c.Add(&e)
			}
			add(Event{Op: OpTopic, Spec: &driver.Topic{Name: "t", Kind: driver.Work, Partitions: 1}})
			add(Event{Op: OpPublish, Records: []Item{{Topic: "t", ID: "1"}}})
			add(Event{Op: OpSubscribe, Feed: 1, Start: &driver.Start{}})
			add(Event{Op: OpData, Feed: 1, Epoch: 5, Position: 7, Attempt: 2, Item: &Item{ID: "1"}})
			if fault {
				c.Add(&Event{Op: OpFault, At: at, Ended: at + 100})
			}
			add(Event{Op: OpAck, Feed: 1, Epoch: 5, Position: 7, Attempt: 2})
			add(Event{Op: OpSubscribe, Feed: 2, Start: &driver.Start{}})
			add(Event{Op: OpData, Feed: 2, Epoch: 9, Position: 7, Attempt: attempt, Item: &Item{ID: "1"}})
			if v := c.Verdict(); v.OK() != fault {
				t.Errorf("attempt %d, fault %t: %s", attempt, fault, v)
			}
		}
	}
}
