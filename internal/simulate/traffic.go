package simulate

import (
	"math"
	"time"
)

// device is a Device with what never changes about it.
type device struct {
	Device
	tree tree
	seed uint64 // of this device: its id and the fleet's seed
}

// deviceSeed mixes a device id into the fleet's seed (FNV-1a, then mix).
func deviceSeed(seed uint64, id string) uint64 {
	h := seed ^ 14695981039346656037
	for i := range len(id) {
		h = (h ^ uint64(id[i])) * 1099511628211
	}
	return mix(h)
}

// mix is the finaliser of SplitMix64: it spreads x evenly over 64 bits.
func mix(x uint64) uint64 {
	x += 0x9e3779b97f4a7c15
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// share maps a hash to 0 … 1.
func share(h uint64) float64 { return float64(h>>11) / (1 << 53) }

const (
	// quantum is how often an agent refreshes its counters. It is also the unit
	// of sysUpTime, and it keeps rounding far below the least growth.
	quantum   = 10 * time.Millisecond
	day       = 24 * 60 * 60.0 // seconds
	dayWave   = 0.5            // traffic swings by half of its mean over a day …
	shortWave = 0.3            // … and by a third within some minutes
)

// clock is one device seen at one moment. It is made once per request.
type clock struct {
	device *device
	state  *state
	now    time.Time
	up     time.Duration // since boot, in whole quanta
	flow   float64       // daily part of the traffic integral at up
	phase  float64       // of the day, at boot
}

func clockOf(d *device, st *state, now time.Time) clock {
	c := clock{device: d, state: st, now: now, up: max(now.Sub(st.boot), 0).Truncate(quantum)}
	if d.Class.SNMP() {
		boot := float64(st.boot.UnixNano()/int64(time.Second)%int64(day)) / day
		c.phase = 2 * math.Pi * (boot + 0.1*share(d.seed) - 0.3) // busiest in the afternoon
		c.flow = daily(c.up.Seconds(), c.phase)
	}
	return c
}

// ticks is sysUpTime: hundredths of a second modulo 2^32.
func (c *clock) ticks() uint64 { return uint64(uint32(c.up / quantum)) }

// daily is the integral of dayWave*sin(2πt/day + phase) from 0 to t seconds.
func daily(t, phase float64) float64 {
	const w = 2 * math.Pi / day
	return dayWave / w * (math.Cos(phase) - math.Cos(w*t+phase))
}

// active gives how many seconds interface i has carried traffic since boot,
// weighted by how busy it was: the integral of 1 + daily wave + short wave.
// The waves together stay below 1, so it always grows while the port is up.
func (c *clock) active(i int32) float64 {
	up, flow := c.up, c.flow
	if p, ok := c.state.ports[i]; ok {
		_, _, lost := p.at(c.now)
		up = max(c.now.Sub(c.state.boot)-lost, 0).Truncate(quantum)
		flow = daily(up.Seconds(), c.phase)
	}
	t := up.Seconds()
	w := 2 * math.Pi / (420 + 900*share(c.portSeed(i, 7))) // a period of 7 to 22 minutes
	return t + flow + shortWave/w*(1-math.Cos(w*t))
}

func (c *clock) portSeed(i int32, salt uint64) uint64 {
	return mix(c.device.seed + uint64(i)<<8 + salt)
}

// rate is the mean growth per second of a counter of interface i.
func (c *clock) rate(f field, i int32) float64 {
	if c.loopback(i) {
		switch f {
		case ifInOctets, ifOutOctets:
			return 200 + 2000*share(c.portSeed(0, 1))
		case ifInUcastPkts, ifOutUcastPkts:
			return (200 + 2000*share(c.portSeed(0, 1))) / 150
		}
		return 0
	}
	// Most ports are quiet and a few are busy: the load is a share cubed.
	in, out := share(c.portSeed(i, 1)), share(c.portSeed(i, 2))
	bytes := float64(c.speed(i)) / 8
	in, out = bytes*(0.001+0.3*in*in*in), bytes*(0.001+0.3*out*out*out)
	size := 300 + 900*share(c.portSeed(i, 3)) // mean packet size in octets
	switch f {
	case ifInOctets:
		return in
	case ifOutOctets:
		return out
	case ifInUcastPkts:
		return in / size
	case ifOutUcastPkts:
		return out / size
	case ifInMulticastPkts, ifOutMulticastPkts:
		return 0.5 + 4*share(c.portSeed(i, uint64(f)))
	case ifInBroadcastPkts, ifOutBroadcastPkts:
		return 0.1 + 2*share(c.portSeed(i, uint64(f)))
	case ifInDiscards, ifOutDiscards:
		return 0.02 * square(share(c.portSeed(i, uint64(f))))
	case ifInErrors, ifOutErrors:
		return 0.002 * square(share(c.portSeed(i, uint64(f))))
	}
	return 0
}

func square(x float64) float64 { return x * x }

// counter is the full value of a counter of interface i since boot.
func (c *clock) counter(f field, i int32) uint64 {
	return uint64(c.rate(f, i) * c.active(i))
}

// wrapLead is how long before its wrap a counter stands after CounterWrap.
const wrapLead = 20.0 // seconds at the mean rate

// counter32 is what a Counter32 shows of counter. After CounterWrap it counts
// on from shortly below 2^32.
func (c *clock) counter32(f field, i int32) uint64 {
	v := c.counter(f, i)
	if w := c.state.wrapped; w != nil {
		then := clockOf(c.device, w.state, w.at)
		lead := uint64(c.rate(f, i)*wrapLead) + 1
		v = v - then.counter(f, i) - lead
	}
	return uint64(uint32(v))
}
