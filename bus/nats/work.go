package nats

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"kemi.dev/kemi/bus/driver"
	"kemi.dev/kemi/bus/driver/outlet"
)

// worker is a member's feed of a Work topic: all members share one durable consumer, named after the group.
//
// The window is kept here, by asking for no more than there is room for, and not by the consumer's MaxAckPending, which
// all members share: there, slow records of one member would hold up the others. Acknowledgements are sent and not
// awaited; one that is lost means that the record comes again.
//
// When work is to stay with its member, the member says every third of the consumer's time (AckWait, 6 s: every 2 s) that it
// has it in hand. What a silent member had goes to others after that time, as its partitions do.
type worker struct {
	feed
	in      intake
	buf     outlet.Buffer
	open    map[int64]*opened // Delivered or buffered, not yet acknowledged.
	waiting bool              // Somebody is in Next: only then more is asked for, lest records wait with a member that is busy.
	holds   bool              // What is in hand stays there.
	silent  atomic.Bool       // Tests make the member as good as paused.
}

// askFor is how long a worker's request for records lasts: a paused process is given some for so long.
const askFor = 10 * time.Second

// opened is a record that the server counts as ours.
type opened struct {
	reply  string
	at     time.Time // When the server last heard that it is.
	inHand bool      // It was handed out.
}

func newWorker(d *Driver, t *topic, s driver.Subscription) *worker {
	holds := s.Redeliver == 0
	if holds {
		s.Redeliver = d.tuning.ackWait
	}
	return &worker{feed: newFeed(d, t, s), open: map[int64]*opened{}, holds: holds}
}

func (w *worker) begin(ctx context.Context) error {
	if _, err := w.consumer(ctx); err != nil {
		return err
	}
	w.in = intake{
		link: w.t.link, log: w.d.scope.Log().With("topic", w.t.Name, "group", w.s.Group), more: make(chan struct{}, 1),
		stream: w.t.stream, open: w.consumer, room: w.room, take: w.take, lasts: askFor,
	}
	w.Tasks.Go(func() { w.in.run(w.Ctx) })
	if w.holds {
		w.Tasks.Go(w.hold)
	}
	return nil
}

// hold says what is in hand until the feed is closed.
func (w *worker) hold() {
	clock := time.NewTicker(w.s.Redeliver / 6)
	defer clock.Stop()
	for {
		select {
		case <-w.Ctx.Done():
			return
		case <-clock.C:
		}
		if w.silent.Load() {
			continue
		}
		for _, reply := range w.due(time.Now(), w.t.link.there()) {
			if err := w.t.link.nc.Publish(reply, []byte("+WPI")); err != nil {
				break // It comes again, to whoever asks first.
			}
		}
	}
}

// due lists what the server is to hear of now. What it has not heard of for the whole time is another's: we were paused,
// or cut off, or nobody here wanted it.
func (w *worker) due(now time.Time, connected bool) (replies []string) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	late := false
	for p, o := range w.open {
		switch silent := now.Sub(o.at); {
		case silent >= w.s.Redeliver:
			delete(w.open, p)
			late = true
		case connected && o.inHand && silent >= w.s.Redeliver/3:
			o.at = now
			replies = append(replies, o.reply)
		}
	}
	if late {
		w.buf.Keep(func(d *driver.Delivery) bool {
			o := w.open[d.Position]
			return o != nil && o.reply == d.Token
		})
		w.in.nudge()
	}
	return replies
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
	w.Mu.Lock()
	defer w.Mu.Unlock()
	if w.silent.Load() {
		return -1
	}
	if !w.waiting {
		return 0
	}
	if len(w.open) >= w.s.Window && !w.holds {
		// What was kept for too long is another's by now.
		for p, o := range w.open {
			if time.Since(o.at) > w.s.Redeliver {
				delete(w.open, p)
			}
		}
	}
	return min(w.s.Window-len(w.open), w.buf.Room())
}

func (w *worker) take(m *nats.Msg, meta *nats.MsgMetadata) error {
	d, err := w.t.delivered(m, meta)
	if err != nil {
		// A stream that is wider than it should be has room for partitions that the topic has not.
		w.d.scope.Log().Error("skip a record that is not Kemi's", "topic", w.t.Name, "position", meta.Sequence.Stream, "err", err)
		return w.t.link.nc.Publish(m.Reply, []byte("+TERM"))
	}
	d.Attempt = int(meta.NumDelivered)
	d.Token = m.Reply
	w.Mu.Lock()
	w.open[d.Position] = &opened{reply: m.Reply, at: time.Now()}
	w.buf.Put(d)
	w.Mu.Unlock()
	w.Nudge()
	return nil
}

// Next implements driver.Feed.
func (w *worker) Next(ctx context.Context) ([]driver.Delivery, error) {
	got, err := w.Wait(ctx, func() []driver.Delivery {
		if w.silent.Load() {
			return nil
		}
		out := w.buf.Take(w.buf.Len())
		for i := range out {
			if o := w.open[out[i].Position]; o != nil {
				o.inHand = true
			}
		}
		w.waiting = true
		w.in.nudge()
		return out
	})
	w.Mu.Lock()
	w.waiting = false
	w.Mu.Unlock()
	return got, err
}

// answer takes a record off the list and says where its answer goes; "" when there is nothing to answer.
func (w *worker) answer(d driver.Delivery, what string) (string, error) {
	w.Mu.Lock()
	defer w.Mu.Unlock()
	if w.Closed {
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
	if !w.End() {
		return nil
	}
	there := w.settled()
	w.d.forget(w)
	nc := w.t.link.nc
	if !there {
		return nil // What is in hand comes again after its time.
	}
	for _, o := range w.open {
		if err := nc.Publish(o.reply, back(0)); err != nil {
			return nil // They come again after their time.
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), goodbye)
	defer cancel()
	_ = nc.FlushWithContext(ctx)
	return nil
}
