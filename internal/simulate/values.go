package simulate

import (
	"math"
	"strconv"
	"time"
)

// appendBinding writes the variable binding of object o.
func (c *clock) appendBinding(b []byte, o *object) []byte {
	start := len(b)
	b = append(b, tagSequence, 0)
	b = append(b, o.name...)
	b = c.appendValue(b, o.field, o.index)
	return fixLength(b, start)
}

// appendValue writes the value of field f of row i as a BER element.
func (c *clock) appendValue(b []byte, f field, i int32) []byte {
	switch {
	case f < ifNumber:
		return c.appendSystem(b, f)
	case f >= hrSystemUptime:
		return c.appendHost(b, f, i)
	case f.counter64():
		return appendUint(b, tagCounter64, c.counter(narrow(f), i))
	}
	return c.appendInterface(b, f, i)
}

// narrow is the 32-bit counter that counts the same as f.
func narrow(f field) field {
	switch f {
	case ifHCInOctets:
		return ifInOctets
	case ifHCOutOctets:
		return ifOutOctets
	case ifHCInUcastPkts:
		return ifInUcastPkts
	case ifHCOutUcastPkts:
		return ifOutUcastPkts
	case ifHCInMulticastPkts:
		return ifInMulticastPkts
	case ifHCInBroadcastPkts:
		return ifInBroadcastPkts
	case ifHCOutMulticastPkts:
		return ifOutMulticastPkts
	case ifHCOutBroadcastPkts:
		return ifOutBroadcastPkts
	}
	return f
}

func (c *clock) appendSystem(b []byte, f field) []byte {
	d := c.device
	host := d.Class == Server || d.Class == VM
	switch f {
	case sysDescr:
		if host {
			return appendString(b, "Linux "+d.ID+" 6.1.0-sim #1 SMP x86_64")
		}
		return appendString(b, "Kemi simulated switch, software 1.0")
	case sysObjectID:
		// net-snmp's own number for Linux, and its playground for the rest.
		if host {
			return appendOID(b, []uint32{1, 3, 6, 1, 4, 1, 8072, 3, 2, 10})
		}
		return appendOID(b, []uint32{1, 3, 6, 1, 4, 1, 8072, 9999, 9999, 1})
	case sysUpTime:
		return appendUint(b, tagTimeTicks, c.ticks())
	case sysContact:
		return appendString(b, "noc@example.net")
	case sysName:
		return appendString(b, d.ID)
	case sysLocation:
		start := len(b)
		b = append(b, tagOctets, 0)
		b = append(b, "simulated, rack "...)
		b = strconv.AppendUint(b, d.seed%40+1, 10)
		return fixLength(b, start)
	default: // sysServices
		if host {
			return appendInt(b, tagInteger, 72) // end-to-end and applications
		}
		return appendInt(b, tagInteger, 2) // bridge
	}
}

func (c *clock) appendInterface(b []byte, f field, i int32) []byte {
	switch f {
	case ifNumber:
		return appendInt(b, tagInteger, int64(c.device.interfaces()))
	case ifIndex:
		return appendInt(b, tagInteger, int64(i))
	case ifDescr, ifName, ifAlias:
		start := len(b)
		return fixLength(c.appendLabel(append(b, tagOctets, 0), f, i), start)
	case ifType:
		if c.loopback(i) {
			return appendInt(b, tagInteger, 24) // softwareLoopback
		}
		return appendInt(b, tagInteger, 6) // ethernetCsmacd
	case ifMtu:
		if c.loopback(i) {
			return appendInt(b, tagInteger, 65536)
		}
		return appendInt(b, tagInteger, 1500)
	case ifSpeed:
		return appendUint(b, tagGauge32, min(c.speed(i), math.MaxUint32))
	case ifHighSpeed:
		return appendUint(b, tagGauge32, c.speed(i)/1e6)
	case ifPhysAddress:
		if c.loopback(i) {
			return append(b, tagOctets, 0)
		}
		h := c.portSeed(i, 5)
		return append(b, tagOctets, 6, 0x02, byte(h>>32), byte(h>>24), byte(h>>16), byte(h>>8), byte(h))
	case ifAdminStatus:
		return appendInt(b, tagInteger, 1)
	case ifOperStatus:
		if down, _, _ := c.state.ports[i].at(c.now); down {
			return appendInt(b, tagInteger, 2)
		}
		return appendInt(b, tagInteger, 1)
	case ifLastChange:
		_, since, _ := c.state.ports[i].at(c.now)
		return appendUint(b, tagTimeTicks, uint64(uint32(max(since.Sub(c.state.boot), 0)/quantum)))
	case ifCounterDiscontinuityTime:
		// Always 0: a wrap is not a discontinuity, and CounterWrap means to look
		// like one that the agent does not announce.
		return appendUint(b, tagTimeTicks, 0)
	case ifLinkUpDownTrapEnable, ifConnectorPresent:
		if c.loopback(i) {
			return appendInt(b, tagInteger, 2)
		}
		return appendInt(b, tagInteger, 1)
	case ifPromiscuousMode:
		return appendInt(b, tagInteger, 2)
	}
	return appendUint(b, tagCounter32, c.counter32(f, i))
}

// appendLabel writes the interface's description, name or alias.
func (c *clock) appendLabel(b []byte, f field, i int32) []byte {
	d := c.device
	if d.Class == Server || d.Class == VM {
		switch {
		case f == ifAlias:
			return b
		case i == 1:
			return append(b, "lo"...)
		}
		return append(b, "eth0"...)
	}
	if f == ifAlias {
		if c.uplink(i) && len(d.Needs) > 0 {
			return append(append(b, "uplink to "...), d.Needs[0]...)
		}
		return strconv.AppendInt(append(b, "port "...), int64(i), 10)
	}
	fast := c.speed(i) > 1e9
	switch {
	case fast && f == ifDescr:
		b = append(b, "TenGigabitEthernet0/"...)
	case fast:
		b = append(b, "Te0/"...)
	case f == ifDescr:
		b = append(b, "GigabitEthernet0/"...)
	default:
		b = append(b, "Gi0/"...)
	}
	return strconv.AppendInt(b, int64(i), 10)
}

// loopback tells whether interface i is a host's lo.
func (c *clock) loopback(i int32) bool {
	return i == 1 && (c.device.Class == Server || c.device.Class == VM)
}

// uplink tells whether interface i is a switch's last port.
func (c *clock) uplink(i int32) bool { return c.device.Class == Switch && int(i) == c.device.Ports }

// speed of interface i in bit/s.
func (c *clock) speed(i int32) uint64 {
	switch {
	case c.loopback(i):
		return 10e6
	case c.device.Class == Core || c.uplink(i) || c.device.Class == Server:
		return 10e9
	}
	return 1e9
}

// Storage rows and what they measure.
const (
	rowMemory = 1
	rowSwap   = 2
	rowRoot   = 3
)

func (c *clock) appendHost(b []byte, f field, i int32) []byte {
	switch f {
	case hrSystemUptime:
		return appendUint(b, tagTimeTicks, c.ticks())
	case hrSystemNumUsers:
		return appendUint(b, tagGauge32, c.device.seed>>8%3)
	case hrSystemProcesses:
		return appendUint(b, tagGauge32, uint64(90+120*share(c.device.seed)+15*c.wobble(1)))
	case hrMemorySize:
		return appendInt(b, tagInteger, c.storageSize(rowMemory))
	case hrStorageIndex:
		return appendInt(b, tagInteger, [...]int64{rowMemory: 1, rowSwap: 10, rowRoot: 31}[i])
	case hrStorageType:
		return appendOID(b, []uint32{1, 3, 6, 1, 2, 1, 25, 2, 1, [...]uint32{rowMemory: 2, rowSwap: 3, rowRoot: 4}[i]})
	case hrStorageDescr:
		return appendString(b, [...]string{rowMemory: "Physical memory", rowSwap: "Swap space", rowRoot: "/"}[i])
	case hrStorageAllocationUnits:
		return appendInt(b, tagInteger, [...]int64{rowMemory: 1024, rowSwap: 1024, rowRoot: 4096}[i])
	case hrStorageSize:
		return appendInt(b, tagInteger, c.storageSize(i))
	case hrStorageUsed:
		return appendInt(b, tagInteger, c.storageUsed(i))
	case hrStorageAllocationFailures:
		return appendUint(b, tagCounter32, 0)
	case hrDeviceIndex:
		return appendInt(b, tagInteger, firstProcessor-1+int64(i))
	case hrDeviceType:
		return appendOID(b, []uint32{1, 3, 6, 1, 2, 1, 25, 3, 1, 3})
	case hrDeviceDescr:
		return appendString(b, "Simulated processor")
	case hrDeviceStatus:
		return appendInt(b, tagInteger, 2) // running
	case hrProcessorFrwID:
		return append(b, tagOID, 1, 0) // zeroDotZero
	default: // hrProcessorLoad
		load := 5 + 45*share(c.device.seed) + 20*c.wobble(2) + 10*c.wobble(10+uint64(i))
		return appendInt(b, tagInteger, int64(min(max(load, 0), 100)))
	}
}

// storageSize is in the row's allocation units.
func (c *clock) storageSize(i int32) int64 {
	memory := int64(4 << 20) // KiB
	if c.device.Class == Server {
		memory = 64 << 20
	}
	switch i {
	case rowMemory:
		return memory
	case rowSwap:
		return memory / 4
	}
	return memory * 4 // in blocks of 4 KiB: 16 times the memory
}

func (c *clock) storageUsed(i int32) int64 {
	base := share(c.portSeed(i, 9))
	var used float64
	switch i {
	case rowMemory:
		used = 0.3 + 0.4*base + 0.08*c.wobble(3)
	case rowSwap:
		used = 0.02 + 0.05*base
	default:
		used = 0.2 + 0.5*base + 0.02*c.wobble(4)
	}
	return int64(used * float64(c.storageSize(i)))
}

// wobble is a level between -1 and 1 that wanders over minutes, with a little
// noise every ten seconds. It follows the wall clock and not the uptime.
func (c *clock) wobble(salt uint64) float64 {
	h := mix(c.device.seed + salt<<32)
	t := float64(c.now.UnixMilli()) / 1000
	wave := math.Sin(2 * math.Pi * (t/(300+600*share(h)) + share(mix(h))))
	noise := 2*share(mix(h+uint64(c.now.Unix()/10))) - 1
	return 0.8*wave + 0.2*noise
}

// bootOf chooses when a device started: some time in the half year before now.
func bootOf(seed uint64, now time.Time) time.Time {
	const least, most = time.Hour, 180 * 24 * time.Hour
	return now.Add(-least - time.Duration(share(mix(seed))*float64(most-least))).Truncate(quantum)
}
