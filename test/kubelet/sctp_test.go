// SPDX-License-Identifier: Apache-2.0

package kubelet

import (
	"encoding/binary"
	"hash/crc32"
)

// initSCTP is the packet that opens an association (RFC 9260, 3.1 and 3.3.2).
func initSCTP(from, to uint16) []byte {
	var p []byte
	p = binary.BigEndian.AppendUint16(p, from)
	p = binary.BigEndian.AppendUint16(p, to)
	p = binary.BigEndian.AppendUint32(p, 0)    // tag: none yet
	p = binary.BigEndian.AppendUint32(p, 0)    // checksum, over zeros in its place
	p = append(p, 1, 0, 0, 20)                 // chunk INIT, no flags, its length
	p = binary.BigEndian.AppendUint32(p, 4711) // our tag
	p = binary.BigEndian.AppendUint32(p, 1<<16)
	p = binary.BigEndian.AppendUint16(p, 1) // streams out
	p = binary.BigEndian.AppendUint16(p, 1) // and in
	p = binary.BigEndian.AppendUint32(p, 1) // first sequence number
	binary.LittleEndian.PutUint32(p[8:], crc32.Checksum(p, crc32.MakeTable(crc32.Castagnoli)))
	return p
}
