package simulate

// field names the value function of an object type.
type field uint8

const (
	// SNMPv2-MIB system group (RFC 3418).
	sysDescr field = iota
	sysObjectID
	sysUpTime
	sysContact
	sysName
	sysLocation
	sysServices
	// IF-MIB (RFC 2863).
	ifNumber
	ifIndex
	ifDescr
	ifType
	ifMtu
	ifSpeed
	ifPhysAddress
	ifAdminStatus
	ifOperStatus
	ifLastChange
	ifInOctets
	ifInUcastPkts
	ifInDiscards
	ifInErrors
	ifInUnknownProtos
	ifOutOctets
	ifOutUcastPkts
	ifOutDiscards
	ifOutErrors
	ifName
	ifInMulticastPkts
	ifInBroadcastPkts
	ifOutMulticastPkts
	ifOutBroadcastPkts
	ifHCInOctets
	ifHCInUcastPkts
	ifHCInMulticastPkts
	ifHCInBroadcastPkts
	ifHCOutOctets
	ifHCOutUcastPkts
	ifHCOutMulticastPkts
	ifHCOutBroadcastPkts
	ifLinkUpDownTrapEnable
	ifHighSpeed
	ifPromiscuousMode
	ifConnectorPresent
	ifAlias
	ifCounterDiscontinuityTime
	// HOST-RESOURCES-MIB (RFC 2790).
	hrSystemUptime
	hrSystemNumUsers
	hrSystemProcesses
	hrMemorySize
	hrStorageIndex
	hrStorageType
	hrStorageDescr
	hrStorageAllocationUnits
	hrStorageSize
	hrStorageUsed
	hrStorageAllocationFailures
	hrDeviceIndex
	hrDeviceType
	hrDeviceDescr
	hrDeviceStatus
	hrProcessorFrwID
	hrProcessorLoad
)

// counter64 tells whether the field is a Counter64, which SNMP v1 lacks.
func (f field) counter64() bool { return f >= ifHCInOctets && f <= ifHCOutBroadcastPkts }

// columns lists the object types of a device shape with their instances.
func (s shape) columns() []column {
	cols := scalars([]uint32{1, 3, 6, 1, 2, 1, 1}, sysDescr, sysServices)
	cols = append(cols, interfaceColumns(s.ports)...)
	if s.class == Server || s.class == VM {
		cols = append(cols, hostColumns(processors(s.class))...)
	}
	return cols
}

// scalars gives first…last the sub-identifiers 1, 2, … below base.
func scalars(base []uint32, first, last field) []column {
	var cols []column
	for f := first; f <= last; f++ {
		cols = append(cols, scalar(f, append(base, uint32(f-first)+1)...))
	}
	return cols
}

func scalar(f field, oid ...uint32) column {
	return column{append([]uint32(nil), oid...), f, []instance{{0, 0}}}
}

// table gives the listed columns of one entry the same rows.
func table(entry []uint32, rows []instance, cols map[uint32]field) []column {
	var out []column
	for c, f := range cols {
		out = append(out, column{append(append([]uint32(nil), entry...), c), f, rows})
	}
	return out
}

func interfaceColumns(n int) []column {
	rows := make([]instance, n)
	for i := range rows {
		rows[i] = instance{uint32(i + 1), int32(i + 1)}
	}
	cols := []column{scalar(ifNumber, 1, 3, 6, 1, 2, 1, 2, 1)}
	cols = append(cols, table([]uint32{1, 3, 6, 1, 2, 1, 2, 2, 1}, rows, map[uint32]field{
		1: ifIndex, 2: ifDescr, 3: ifType, 4: ifMtu, 5: ifSpeed, 6: ifPhysAddress, 7: ifAdminStatus,
		8: ifOperStatus, 9: ifLastChange, 10: ifInOctets, 11: ifInUcastPkts, 13: ifInDiscards, 14: ifInErrors,
		15: ifInUnknownProtos, 16: ifOutOctets, 17: ifOutUcastPkts, 19: ifOutDiscards, 20: ifOutErrors,
	})...)
	return append(cols, table([]uint32{1, 3, 6, 1, 2, 1, 31, 1, 1, 1}, rows, map[uint32]field{
		1: ifName, 2: ifInMulticastPkts, 3: ifInBroadcastPkts, 4: ifOutMulticastPkts, 5: ifOutBroadcastPkts,
		6: ifHCInOctets, 7: ifHCInUcastPkts, 8: ifHCInMulticastPkts, 9: ifHCInBroadcastPkts,
		10: ifHCOutOctets, 11: ifHCOutUcastPkts, 12: ifHCOutMulticastPkts, 13: ifHCOutBroadcastPkts,
		14: ifLinkUpDownTrapEnable, 15: ifHighSpeed, 16: ifPromiscuousMode, 17: ifConnectorPresent,
		18: ifAlias, 19: ifCounterDiscontinuityTime,
	})...)
}

// firstProcessor is where net-snmp begins to number processors in
// hrDeviceTable; storage rows carry its numbers, too.
const firstProcessor = 196608

func hostColumns(processors int) []column {
	host := func(sub ...uint32) []uint32 { return append([]uint32{1, 3, 6, 1, 2, 1, 25}, sub...) }
	storage := []instance{{1, 1}, {10, 2}, {31, 3}} // memory, swap, root file system
	cpus := make([]instance, processors)
	for i := range cpus {
		cpus[i] = instance{uint32(firstProcessor + i), int32(i + 1)}
	}
	cols := []column{
		scalar(hrSystemUptime, host(1, 1)...), scalar(hrSystemNumUsers, host(1, 5)...),
		scalar(hrSystemProcesses, host(1, 6)...), scalar(hrMemorySize, host(2, 2)...),
	}
	cols = append(cols, table(host(2, 3, 1), storage, map[uint32]field{
		1: hrStorageIndex, 2: hrStorageType, 3: hrStorageDescr, 4: hrStorageAllocationUnits,
		5: hrStorageSize, 6: hrStorageUsed, 7: hrStorageAllocationFailures,
	})...)
	cols = append(cols, table(host(3, 2, 1), cpus, map[uint32]field{
		1: hrDeviceIndex, 2: hrDeviceType, 3: hrDeviceDescr, 5: hrDeviceStatus,
	})...)
	return append(cols, table(host(3, 3, 1), cpus, map[uint32]field{1: hrProcessorFrwID, 2: hrProcessorLoad})...)
}

func processors(c Class) int {
	if c == Server {
		return 8
	}
	return 2
}
