package kafka

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol/initproducerid"

	"kemi.dev/kemi/internal/pause"
)

// address is one partition of one of Kafka's topics.
type address struct {
	name      string
	partition int
}

// load is a parcel on its way, and who waits for it.
type load struct {
	parcel *parcel
	ctx    context.Context
	done   chan error

	mu   sync.Mutex
	last error // Of the last attempt.
}

func (l *load) why() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.last
}

func (l *load) tried(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.last = err
}

// lane stores what is published to one partition, one batch after the other: what comes while one is under way is the
// next, of all callers together. So the order holds when a batch has to be sent again.
type lane struct {
	d         *Driver
	partition int

	mu    sync.Mutex
	queue []*load
	busy  bool

	// Of the one goroutine that sends.
	as    producer
	known bool
	era   uint64 // Of the log that it is known to.
}

func (d *Driver) lane(t *topic, partition int) *lane {
	d.mu.Lock()
	defer d.mu.Unlock()
	at := address{t.name, partition}
	l := d.lanes[at]
	if l == nil {
		l = &lane{d: d, partition: partition}
		d.lanes[at] = l
	}
	return l
}

// put queues a load; a goroutine sends while there is something to send.
func (l *lane) put(one *load) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.queue = append(l.queue, one)
	if !l.busy {
		l.busy = true
		go l.run()
	}
}

func (l *lane) run() {
	for {
		some := l.take()
		if len(some) == 0 {
			return
		}
		l.send(some)
	}
}

// take is what fits into the next batch; nothing ends the goroutine.
func (l *lane) take() []*load {
	l.mu.Lock()
	defer l.mu.Unlock()
	n, size := 0, 0
	for n < len(l.queue) {
		size += l.queue[n].parcel.size()
		if n > 0 && size > l.queue[n].parcel.t.maxBatch {
			break
		}
		n++
	}
	some := l.queue[:n:n]
	if l.queue = l.queue[n:]; len(l.queue) == 0 {
		l.queue = nil
	}
	if n == 0 {
		l.busy = false
	}
	return some
}

// waiting leaves out the loads that nobody waits for any more.
func waiting(loads []*load) []*load {
	var out []*load
	for _, one := range loads {
		if one.ctx.Err() == nil {
			out = append(out, one)
		}
	}
	return out
}

// unknowns is how often a broker may say that there is no such topic before it is believed: one that was just started, or
// just became the leader, may not know yet.
const unknowns = 20

// send stores loads in one batch, and again until it is stored, refused, or nobody waits for it.
func (l *lane) send(loads []*load) {
	unknown := 0
	for fresh := true; ; {
		still := waiting(loads)
		if len(still) == 0 {
			l.known = l.known && fresh // What was sent may have been stored: the sequence is not known any more.
			return
		}
		if len(still) < len(loads) && !fresh {
			l.known = false // Another batch must not look like the one that was sent.
		}
		loads = still
		err := l.once(loads)
		var said kafkago.Error
		switch {
		case err == nil, errors.As(err, &said) && said == kafkago.DuplicateSequenceNumber:
			answer(loads, nil)
			return
		case errors.As(err, &said) && (said == kafkago.OutOfOrderSequenceNumber || said == kafkago.UnknownProducerId || said == kafkago.InvalidProducerEpoch || said == kafkago.InvalidProducerIDMapping):
			l.known = false // The broker has forgotten who we are.
		case said == kafkago.UnknownTopicOrPartition && unknown < unknowns && !l.d.isClosed():
			unknown++
		case errors.As(err, &said) && said == kafkago.MessageSizeTooLarge && len(loads) > 1:
			// The limit is another than it was: each is judged by itself.
			l.known = false
			for i := range loads {
				l.send(loads[i : i+1])
			}
			return
		case !passing(err) || l.d.isClosed():
			l.known = false
			answer(loads, err)
			return
		}
		fresh = false
		for _, one := range loads {
			one.tried(err)
		}
		pause.For(context.Background(), l.d.tuning.again)
	}
}

func answer(loads []*load, err error) {
	for _, one := range loads {
		one.done <- err
	}
}

// once sends loads in one batch.
func (l *lane) once(loads []*load) error {
	ctx, cancel := context.WithTimeout(context.Background(), l.d.tuning.answer)
	defer cancel()
	// What a broker calls us that came back with nothing it may call somebody else too.
	era := loads[0].parcel.t.era()
	if !l.known || l.era != era {
		as, err := l.d.introduce(ctx)
		if err != nil {
			return err
		}
		l.as, l.known, l.era = as, true, era
	}
	parts := make([]*sealed, len(loads))
	count := 0
	for i, one := range loads {
		parts[i] = &one.parcel.sealed
		count += parts[i].count()
	}
	err := l.d.produce(ctx, "", []batch{{topic: loads[0].parcel.t, partition: l.partition, as: l.as, at: time.Now().UnixMilli(), parts: parts}})
	if err == nil && l.as.id >= 0 {
		l.as.sequence = int32((int64(l.as.sequence) + int64(count)) & (1<<31 - 1))
	}
	return err
}

// introduce asks for a producer id. Who may not have one is nobody in particular.
func (d *Driver) introduce(ctx context.Context) (producer, error) {
	res, err := d.link.ask(ctx, anyone, &initproducerid.Request{TransactionTimeoutMs: int32(time.Minute.Milliseconds()), ProducerID: -1, ProducerEpoch: -1})
	if err != nil {
		return producer{}, fmt.Errorf("ask for a producer id: %w", err)
	}
	switch r := res.(*initproducerid.Response); kafkago.Error(r.ErrorCode) {
	case 0:
		return producer{id: r.ProducerID, epoch: r.ProducerEpoch}, nil
	case kafkago.ClusterAuthorizationFailed, kafkago.UnsupportedVersion:
		return nobody, nil
	default:
		return producer{}, fmt.Errorf("ask for a producer id: %w", kafkago.Error(r.ErrorCode))
	}
}
