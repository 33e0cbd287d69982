package kafka

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"slices"
	"strings"
	"sync"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/metadata"

	"kemi.dev/kemi/bus/driver"
)

// anyone is the broker to ask what every broker knows.
const anyone = -1

// link is the connections to the brokers.
type link struct {
	transport *kafkago.Transport
	ways      *ways
	addr      net.Addr
	clientID  string
	answer    time.Duration
	// identifies says that the brokers know which log a name stands for. It is set before there is anybody to read it.
	identifies bool
	missing    chan struct{} // Somebody came upon a topic that is not there.

	mu      sync.Mutex
	closed  bool
	layouts map[string]*layout // By Kafka's topic name.
	brokers []int32
	boss    int32     // Who controls the cluster, or passes on what is for it.
	well    time.Time // When a broker answered last.
	ill     time.Time // Since when none does; zero when one does.
	why     error
}

// layout is who leads the partitions of a topic.
type layout struct{ leaders []int32 }

// connect makes the link; nothing is dialled yet.
func (d *Driver) connect() (*link, error) {
	way := entrance{dial: d.dial, login: d.config.SASL.mechanism(), clientID: d.config.ClientID}
	if way.dial == nil {
		way.dial = (&net.Dialer{Timeout: 5 * time.Second, KeepAlive: 10 * time.Second}).DialContext
	}
	if d.config.TLS != nil {
		var err error
		if way.secure, err = d.config.TLS.TLS(); err != nil {
			return nil, fmt.Errorf("load what tls names: %w", err)
		}
		if d.config.TLS.CertFile == "" {
			// The connections of a process after the first cost the broker no signature. A client certificate may be
			// another one meanwhile, and is shown each time.
			way.secure.ClientSessionCache = tls.NewLRUClientSessionCache(64)
		}
	}
	l := &link{addr: kafkago.TCP(d.config.Brokers...), clientID: d.config.ClientID, answer: d.tuning.answer, missing: make(chan struct{}, 1), layouts: map[string]*layout{}}
	l.ways = newWays(d.pacesOf(), way.enter)
	l.transport = &kafkago.Transport{
		// What it is given is encrypted and logged in: it is told of neither.
		Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
			c, err := l.ways.dial(ctx, network, address)
			if err != nil && ctx.Err() == nil {
				l.note(err)
			}
			return c, err
		},
		DialTimeout: 5 * time.Second, IdleTimeout: 30 * time.Second, MetadataTTL: d.tuning.layout,
		// The transport asks about one topic only: who leads the others is asked when it is needed.
		MetadataTopics: []string{d.registry()}, ClientID: d.config.ClientID,
	}
	return l, nil
}

// close lets go of the connections.
func (l *link) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.transport.CloseIdleConnections()
	l.ways.close()
}

// RoundTrip implements kafkago.RoundTripper. A request without a deadline is given one: a broker that was stopped answers
// never.
func (l *link) RoundTrip(ctx context.Context, addr net.Addr, req kafkago.Request) (kafkago.Response, error) {
	l.mu.Lock()
	closed := l.closed
	l.mu.Unlock()
	if closed {
		return nil, driver.ErrClosed
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.answer)
		defer cancel()
	}
	res, err := l.transport.RoundTrip(ctx, addr, req)
	if err == nil || !errors.Is(err, context.Canceled) {
		l.note(err)
	}
	return res, err
}

// note remembers whether brokers answer.
func (l *link) note(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	var said kafkago.Error
	if err == nil || errors.As(err, &said) {
		l.well, l.ill, l.why = time.Now(), time.Time{}, nil
		return
	}
	if l.ill.IsZero() {
		l.ill = time.Now()
	}
	if l.why == nil || !errors.Is(err, context.DeadlineExceeded) { // What was said before tells more than that time is up.
		l.why = err
	}
}

// lately is how long ago a broker may have answered for one that does not to be no matter: of several one may be down.
const lately = 3 * time.Second

// health is what note noted: nil, or since when no broker answered, and why.
func (l *link) health() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ill.IsZero() || time.Since(l.well) < lately {
		return nil
	}
	return fmt.Errorf("no broker answers since %s: %w", l.ill.UTC().Format(time.RFC3339), explain(l.why))
}

// routed is a request that goes to one broker, in words of kafka-go, whatever the transport knows of the cluster.
type routed struct {
	protocol.Message
	link     *link
	node     int32
	versions map[protocol.ApiKey]int16
}

// Broker implements protocol.BrokerMessage.
func (r *routed) Broker(protocol.Cluster) (protocol.Broker, error) {
	return protocol.Broker{ID: r.node}, nil
}

// Required implements protocol.RawExchanger.
func (r *routed) Required(versions map[protocol.ApiKey]int16) bool {
	r.versions = versions
	return true
}

// RawExchange implements protocol.RawExchanger.
func (r *routed) RawExchange(rw io.ReadWriter) (protocol.Message, error) {
	version := r.versions[r.ApiKey()]
	if p, ok := r.Message.(protocol.PreparedMessage); ok {
		p.Prepare(version)
	}
	res, err := protocol.RoundTrip(rw, version, 1, r.link.clientID, r.Message)
	return answered{res}, err
}

// answered hides the kind of an answer from the transport, which draws conclusions from some.
type answered struct{ protocol.Message }

// ask sends a request to one broker, or to anyone.
func (l *link) ask(ctx context.Context, node int32, req protocol.Message) (protocol.Message, error) {
	res, err := l.RoundTrip(ctx, l.addr, &routed{Message: req, link: l, node: node})
	if err != nil {
		return nil, err
	}
	return res.(answered).Message, nil
}

// leader is the broker that leads a partition, as it was when it was last asked.
func (l *link) leader(ctx context.Context, topic string, partition int) (int32, error) {
	l.mu.Lock()
	known := l.layouts[topic]
	l.mu.Unlock()
	if known == nil {
		var err error
		if known, err = l.look(ctx, topic); err != nil {
			return 0, err
		}
	}
	if partition >= len(known.leaders) {
		return 0, fmt.Errorf("find partition %d of %s: %w", partition, topic, kafkago.UnknownTopicOrPartition)
	}
	if id := known.leaders[partition]; id >= 0 {
		return id, nil
	}
	l.stale(topic)
	return 0, fmt.Errorf("find who leads partition %d of %s: %w", partition, topic, kafkago.LeaderNotAvailable)
}

// stale forgets who leads the topic: one of them did not, or did not answer.
func (l *link) stale(topic string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	delete(l.layouts, topic)
}

// look asks any broker about a topic.
func (l *link) look(ctx context.Context, topic string) (*layout, error) {
	res, err := l.ask(ctx, anyone, &metadata.Request{TopicNames: []string{topic}})
	if err != nil {
		return nil, fmt.Errorf("ask about %s: %w", topic, err)
	}
	m := res.(*metadata.Response)
	brokers := make([]int32, 0, len(m.Brokers))
	for _, b := range m.Brokers {
		brokers = append(brokers, b.NodeID)
	}
	if len(m.Topics) != 1 {
		return nil, fmt.Errorf("ask about %s: the answer is about %d topics", topic, len(m.Topics))
	}
	t := m.Topics[0]
	l.mu.Lock()
	l.brokers, l.boss = brokers, m.ControllerID
	l.mu.Unlock()
	if kafkago.Error(t.ErrorCode) == kafkago.UnknownTopicOrPartition {
		signal(l.missing)
	}
	if t.ErrorCode != 0 {
		return nil, fmt.Errorf("ask about %s: %w", topic, kind(kafkago.Error(t.ErrorCode)))
	}
	found := &layout{leaders: make([]int32, len(t.Partitions))}
	for _, p := range t.Partitions {
		if int(p.PartitionIndex) < len(found.leaders) {
			found.leaders[p.PartitionIndex] = p.LeaderID
		}
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.layouts[topic] = found
	return found, nil
}

// size is how many brokers there were when somebody was asked last.
func (l *link) size() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return max(len(l.brokers), 1)
}

// nodes are the brokers.
func (l *link) nodes() []int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.brokers)
}

func (l *link) controller() int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.boss
}

// passing says that it is worth another try: the network, a leader or a coordinator that moves, replicas that are behind.
func passing(err error) bool {
	var said kafkago.Error
	var no unfit
	switch {
	case err == nil, errors.As(err, &no), errors.Is(err, context.Canceled), errors.Is(err, driver.ErrClosed), refused(err):
		return false
	case errors.As(err, &said):
		return said.Temporary() && said != kafkago.UnknownTopicOrPartition || said == kafkago.BrokerNotAvailable || said == kafkago.KafkaStorageError
	}
	return true
}

// where names the brokers for people.
func (d *Driver) where() string { return strings.Join(d.config.Brokers, ", ") }
