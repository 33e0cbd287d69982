package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
)

// worker is a member's feed of a Work topic: all members share one durable consumer, named after the group.
//
// The window is kept here, by asking for no more than there is room for, and not by the consumer's MaxAckPending, which
// all members share: there, slow records of one member would hold up the others. Acknowledgements are sent and not
// awaited; one that is lost means that the record comes again.
type worker struct {
	feed
	in      intake
	buf     buffer
	open    map[int64]opened // Delivered or buffered, not yet acknowledged.
	waiting bool             // Somebody is in Next: only then more is asked for, lest records wait with a member that is busy.
}

type opened struct {
	reply string
	at    time.Time
}

func newWorker(d *Driver, t *topic, s driver.Subscription) *worker {
	return &worker{feed: newFeed(d, t, s), open: map[int64]opened{}}
}

func (w *worker) begin(ctx context.Context) error {
	if _, err := w.consumer(ctx); err != nil {
		return err
	}
	w.in = intake{
		link: w.t.link, log: w.d.scope.Log().With("topic", w.t.Name, "group", w.s.Group), more: make(chan struct{}, 1),
		open: w.consumer, room: w.room, take: w.take,
	}
	w.tasks.Go(func() { w.in.run(w.ctx) })
	return nil
}

// consumer finds the group's consumer or makes it.
func (w *worker) consumer(ctx context.Context) (jetstream.Consumer, error) {
	name := token(w.s.Group)
	js := w.t.link.js
	have, err := js.Consumer(ctx, w.t.stream, name)
	if errors.Is(err, jetstream.ErrConsumerNotFound) {
		c := jetstream.ConsumerConfig{
			Durable: name, Description: "group " + w.s.Group, AckPolicy: jetstream.AckExplicitPolicy, AckWait: w.s.Redeliver,
			MaxAckPending: -1, MaxDeliver: -1, MaxWaiting: 4096, DeliverPolicy: jetstream.DeliverAllPolicy,
		}
		switch s := w.s.Start; {
		case s.End:
			c.DeliverPolicy = jetstream.DeliverNewPolicy
		case !s.Time.IsZero():
			c.DeliverPolicy, c.OptStartTime = jetstream.DeliverByStartTimePolicy, &s.Time
		case s.Position > 1:
			c.DeliverPolicy, c.OptStartSeq = jetstream.DeliverByStartSequencePolicy, uint64(s.Position)
		}
		have, err = js.CreateConsumer(ctx, w.t.stream, c)
		if errors.Is(err, jetstream.ErrConsumerExists) { // Another member was faster, with another time.
			have, err = js.Consumer(ctx, w.t.stream, name)
		}
	}
	if err == nil && have.CachedInfo().Config.AckWait != w.s.Redeliver {
		c := have.CachedInfo().Config
		c.AckWait = w.s.Redeliver
		have, err = js.UpdateConsumer(ctx, w.t.stream, c)
	}
	if err != nil {
		return nil, fmt.Errorf("open consumer %s of stream %s: %w", name, w.t.stream, err)
	}
	return have, nil
}

func (w *worker) room() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.waiting {
		return 0
	}
	if len(w.open) >= w.s.Window {
		// What was kept for too long is another's by now.
		for p, o := range w.open {
			if time.Since(o.at) > w.s.Redeliver {
				delete(w.open, p)
			}
		}
	}
	return min(w.s.Window-len(w.open), w.buf.room())
}

func (w *worker) take(m *nats.Msg, meta *nats.MsgMetadata) error {
	d, err := w.t.delivered(m, meta)
	if err != nil {
		w.d.scope.Log().Error("skip a record that is not Kemi's", "topic", w.t.Name, "position", meta.Sequence.Stream, "err", err)
		return w.t.link.nc.Publish(m.Reply, []byte("+TERM"))
	}
	d.Attempt = int(meta.NumDelivered)
	d.Token = m.Reply
	w.mu.Lock()
	w.open[d.Position] = opened{m.Reply, time.Now()}
	w.buf.put(d)
	w.mu.Unlock()
	w.nudge()
	return nil
}

// Next implements driver.Feed.
func (w *worker) Next(ctx context.Context) ([]driver.Delivery, error) {
	got, err := w.wait(ctx, func() []driver.Delivery {
		out := w.buf.take(len(w.buf.ds))
		w.waiting = true
		w.in.nudge()
		return out
	})
	w.mu.Lock()
	w.waiting = false
	w.mu.Unlock()
	return got, err
}

// answer takes a record off the list and says where its answer goes; "" when there is nothing to answer.
func (w *worker) answer(d driver.Delivery, what string) (string, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.closed {
		return "", fmt.Errorf("%s %s: %w", what, w.t.Name, driver.ErrClosed)
	}
	if o, ok := w.open[d.Position]; ok && o.reply == d.Token {
		delete(w.open, d.Position)
		w.in.nudge()
	}
	reply, _ := d.Token.(string)
	return reply, nil
}

// Ack implements driver.Feed. A late one still counts: the work was done.
func (w *worker) Ack(_ context.Context, d driver.Delivery) error {
	reply, err := w.answer(d, "acknowledge")
	if err != nil || reply == "" {
		return err
	}
	if err := w.t.link.nc.Publish(reply, []byte("+ACK")); err != nil {
		return fmt.Errorf("acknowledge %s: %w", w.t.Name, err)
	}
	return nil
}

// Nack implements driver.Feed.
func (w *worker) Nack(_ context.Context, d driver.Delivery, after time.Duration) error {
	reply, err := w.answer(d, "give back")
	if err != nil || reply == "" {
		return err
	}
	if err := w.t.link.nc.Publish(reply, back(after)); err != nil {
		return fmt.Errorf("give back %s: %w", w.t.Name, err)
	}
	return nil
}

// back is the answer that asks for a record to be delivered again.
func back(after time.Duration) []byte {
	if after <= 0 {
		return []byte("-NAK")
	}
	return []byte(`-NAK {"delay":` + strconv.FormatInt(after.Nanoseconds(), 10) + "}")
}

// Close implements driver.Feed: what was not acknowledged others get at once.
func (w *worker) Close() error {
	if !w.end() {
		return nil
	}
	w.tasks.Wait()
	w.d.forget(w)
	nc := w.t.link.nc
	if !nc.IsConnected() {
		return nil
	}
	for _, o := range w.open {
		if err := nc.Publish(o.reply, back(0)); err != nil {
			return nil // They come again after their time.
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
	defer cancel()
	_ = nc.FlushWithContext(ctx)
	return nil
}
