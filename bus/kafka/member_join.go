package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	kafkago "github.com/segmentio/kafka-go"
	"github.com/segmentio/kafka-go/protocol"
	"github.com/segmentio/kafka-go/protocol/consumer"
	"github.com/segmentio/kafka-go/protocol/syncgroup"
)

// rebalance is how long the group waits for a member that is alive and does not join again. It is longer than the
// lease: whoever is dead goes when its session ends, which is earlier.
func (m *member) rebalance() time.Duration { return 2 * m.d.tuning.lease }

// join makes this a member of the group's next generation, as what it is already if the broker knows it. It waits for longer
// than the broker waits for others: who gives up before and asks again may have the broker wait anew, and so for ever.
// A coordinator that says nothing is found out by the heartbeats.
func (m *member) join() error {
	m.Mu.Lock()
	id := m.id
	owned := map[int]uint64{}
	for p, l := range m.leases {
		owned[p] = l.epoch
	}
	ctx, cancel := context.WithTimeout(m.life, m.rebalance()+m.d.tuning.lease)
	defer cancel()
	m.joining, m.fresh, m.abort = true, nil, cancel
	m.Mu.Unlock()
	select {
	case <-m.again: // This is the joining that was asked for.
	default:
	}
	if m.Open() == nil { // Whoever closes the feed meanwhile does not wait for the others.
		defer context.AfterFunc(m.Ctx, cancel)()
	}
	request := &kafkago.JoinGroupRequest{
		GroupID: m.group, SessionTimeout: m.d.tuning.lease, RebalanceTimeout: m.rebalance(), MemberID: id, ProtocolType: "consumer",
		Protocols: []kafkago.GroupProtocol{{Name: dividing, Metadata: kafkago.GroupProtocolSubscription{Topics: []string{m.t.name}, UserData: encodeClaim(owned)}}},
	}
	joined, err := m.client.JoinGroup(ctx, request)
	if err == nil && errors.Is(joined.Error, kafkago.MemberIDRequired) {
		m.Mu.Lock()
		m.id = joined.MemberID
		m.Mu.Unlock()
		request.MemberID = joined.MemberID
		joined, err = m.client.JoinGroup(ctx, request)
	}
	if err == nil {
		err = joined.Error
	}
	if err != nil {
		return fmt.Errorf("join group %s: %w", m.group, err)
	}
	sync := &syncgroup.Request{
		GroupID: m.group, GenerationID: int32(joined.GenerationID), MemberID: joined.MemberID, ProtocolType: "consumer", ProtocolName: dividing,
	}
	if joined.LeaderID == joined.MemberID {
		if sync.Assignments, err = m.assign(joined.Members); err != nil {
			return fmt.Errorf("divide group %s: %w", m.group, err)
		}
	}
	m.Mu.Lock()
	m.id = joined.MemberID
	m.Mu.Unlock()
	m.introduce(joined.MemberID)
	sent := time.Now()
	mine, err := m.sync(ctx, sync)
	if err != nil {
		return fmt.Errorf("learn what is ours in group %s: %w", m.group, err)
	}
	m.settle(joined.GenerationID, mine, sent)
	return nil
}

// introduce tells once what the brokers call this member: it is how kemi topics and Kafka's own tools name an owner.
func (m *member) introduce(id string) {
	if id == m.called {
		return
	}
	m.d.names.DeleteLabelValues(m.t.Name, m.s.Group, m.called)
	if m.called = id; id != "" {
		m.d.names.WithLabelValues(m.t.Name, m.s.Group, id).Set(1)
		m.d.scope.Log().Info("joined a group", "topic", m.t.Name, "group", m.s.Group, "member", id)
	}
}

// sync waits for what the leader divided. kafka-go's own word for it reads the share before it looks at the error, and so
// finds none of the errors.
func (m *member) sync(ctx context.Context, request *syncgroup.Request) (share, error) {
	res, err := m.home.RoundTrip(ctx, nil, request)
	if err != nil {
		return share{}, err
	}
	r, ok := res.(*syncgroup.Response)
	switch {
	case !ok:
		return share{}, fmt.Errorf("the broker answered with %T", res)
	case r.ErrorCode != 0:
		return share{}, kafkago.Error(r.ErrorCode)
	}
	var a consumer.Assignment
	if err := protocol.Unmarshal(r.Assignments, consumer.MaxVersionSupported, &a); err != nil {
		return share{}, err
	}
	var s share
	if s.give, err = decodeGive(a.UserData); err != nil {
		return share{}, err
	}
	for _, t := range a.AssignedPartitions {
		for _, p := range t.Partitions {
			if t.Topic == m.t.name && p >= 0 && int(p) < m.t.parts {
				s.own = append(s.own, int(p))
			}
		}
	}
	slices.Sort(s.own)
	return s, nil
}

// assign is the leader's: it divides the partitions among the members.
func (m *member) assign(members []kafkago.JoinGroupResponseMember) ([]syncgroup.RequestAssignment, error) {
	claims := make([]claim, 0, len(members))
	for _, x := range members {
		owned, err := decodeClaim(x.Metadata.UserData)
		if err != nil {
			// What it owns it loses, for its leases are not ours to read; it gets its share like one that is new.
			m.d.scope.Log().Error("a member of the group says what is not understood", "group", m.s.Group, "topic", m.t.Name, "member", x.ID, "err", err)
		}
		claims = append(claims, claim{x.ID, owned})
	}
	out := make([]syncgroup.RequestAssignment, 0, len(claims))
	for id, s := range divide(claims, m.t.parts) {
		t := consumer.TopicPartition{Topic: m.t.name}
		for _, p := range s.own {
			t.Partitions = append(t.Partitions, int32(p))
		}
		data, err := protocol.Marshal(consumer.MaxVersionSupported, consumer.Assignment{
			Version: consumer.MaxVersionSupported, AssignedPartitions: []consumer.TopicPartition{t}, UserData: encodeGive(s.give),
		})
		if err != nil {
			return nil, err
		}
		out = append(out, syncgroup.RequestAssignment{MemberID: id, Assignment: data})
	}
	return out, nil
}

// settle begins a generation. sent is when the request was sent that the broker answered with the share.
func (m *member) settle(generation int, s share, sent time.Time) {
	m.Mu.Lock()
	defer m.Mu.Unlock()
	m.generation, m.joining, m.out = generation, false, false
	if s.give > 0 && m.give == 0 {
		m.giveBy = sent.Add(m.d.tuning.handover)
	}
	m.give = s.give
	m.settled = sent
	m.extend(sent, sent.Add(m.d.tuning.lease*3/4))
	for p, l := range m.leases {
		if !slices.Contains(s.own, p) {
			m.over(l)
		}
	}
	m.fresh = slices.DeleteFunc(s.own, func(p int) bool { return m.leases[p] != nil })
}

// extend moves the end of the leases, with the feed locked.
func (m *member) extend(sent, to time.Time) {
	if !time.Now().Before(m.valid) {
		m.Nudge() // Next held records back.
	}
	if sent.After(m.heard) {
		m.heard = sent
	}
	if to.After(m.valid) {
		m.valid = to
	}
	m.turn()
}

// keep says that the member is alive, and commits what was acknowledged, until the member left.
func (m *member) keep() {
	every := m.d.tuning.lease / 12
	clock := time.NewTicker(min(every, m.d.tuning.commit))
	defer clock.Stop()
	var beaten, committed time.Time
	for {
		asked := false
		select {
		case <-m.life.Done():
			return
		case <-m.pulse:
			asked = true
		case <-clock.C:
		}
		if now := time.Now(); asked || now.Sub(beaten) >= every {
			beaten = now
			m.beat()
		}
		if now := time.Now(); now.Sub(committed) >= m.d.tuning.commit {
			committed = now
			m.desks.tick(now)
			if !m.commits.TryLock() {
				continue // Heartbeats do not wait for somebody else's commit that takes its time.
			}
			if err := m.commitNow(m.due()); err != nil {
				m.d.scope.Log().Debug("commit again", "group", m.s.Group, "topic", m.t.Name, "err", err)
			}
			m.commits.Unlock()
		}
	}
}

// beat asks the broker whether we are still a member.
//
// The leases last from when the question was sent, for three quarters of the session: the broker's clock of the session
// begins later. While the group divides anew the broker still answers, but drops who does not join in time; therefore
// such answers count only so long after the last one before.
func (m *member) beat() {
	m.Mu.Lock()
	id, generation, joining := m.id, m.generation, m.joining
	m.Mu.Unlock()
	if generation < 0 {
		return
	}
	ctx, cancel := m.call()
	defer cancel()
	sent := time.Now()
	err := m.home.heartbeat(ctx, m.group, generation, id)
	m.Mu.Lock()
	defer m.Mu.Unlock()
	if m.generation != generation || m.id != id {
		return // The answer is about what was.
	}
	to := sent.Add(m.d.tuning.lease * 3 / 4)
	switch {
	case err == nil:
		m.settled = sent
		m.extend(sent, to)
	case errors.Is(err, kafkago.RebalanceInProgress):
		if most := m.settled.Add(m.rebalance() * 3 / 4); to.After(most) {
			to = most
		}
		m.extend(sent, to)
		if !m.joining {
			signal(m.again)
		}
	case errors.Is(err, kafkago.IllegalGeneration) && (joining || m.joining):
		// The next generation has begun, and its answer to our joining is on its way.
	case isOut(err):
		m.out = true
		m.turn()
		if m.abort != nil {
			m.abort()
		}
		signal(m.kick)
	case m.life.Err() == nil:
		m.home.forget()
		if m.joining && m.abort != nil && time.Since(m.heard) > m.d.tuning.lease {
			m.abort()
		}
	}
}
