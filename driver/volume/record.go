package volume

import (
	"encoding/json"
	"time"
)

// RecordVersion is written into each record. One of another version is not understood.
const RecordVersion = 1

// Record is what a pool keeps of a volume or snapshot beside its bytes, as JSON, wherever it has room for
// it. It never changes. What does, the size and the mark, each pool keeps in its own way.
type Record struct {
	Version    int        `json:"version"`
	Created    time.Time  `json:"created"`
	FSType     FSType     `json:"fsType,omitempty"`
	Source     *Source    `json:"source,omitempty"`
	Parameters Parameters `json:"parameters,omitzero"`
	Claim      Claim      `json:"claim,omitzero"`
	Ephemeral  bool       `json:"ephemeral,omitempty"`
	Volume     *ID        `json:"volume,omitempty"`     // of a snapshot: what it was taken of
	BlockBytes Size       `json:"blockBytes,omitempty"` // logical block size; records before it was kept have none
	Mark       Mark       `json:"mark,omitempty"`       // of a snapshot: Block where its volume had that mark; a volume's moves, and is kept elsewhere
}

// Record returns the record of a volume that is made now as the spec says.
func (s Spec) Record() Record {
	return Record{
		Version: RecordVersion, Created: time.Now(), FSType: s.FSType, Source: s.Source,
		Parameters: s.Parameters, Claim: s.Claim, Ephemeral: s.Ephemeral, BlockBytes: s.BlockBytes,
	}
}

// SnapshotRecord returns the record of a snapshot of the given volume. What goes with the bytes of a volume
// to each copy of them is in it, for the snapshot outlives the volume.
func SnapshotRecord(of Volume, created time.Time) Record {
	r := Record{Version: RecordVersion, Created: created, FSType: of.FSType, Volume: &of.ID, BlockBytes: of.BlockBytes}
	if of.Mark == Block {
		r.Mark = Block
	}
	return r
}

// ParseRecord reads the JSON of a record. The kind of its error is Internal.
func ParseRecord(text []byte) (Record, error) {
	var r Record
	if err := json.Unmarshal(text, &r); err != nil {
		return r, Errorf(Internal, "its record is damaged: %w", err)
	}
	if r.Version != RecordVersion {
		return r, Errorf(Internal, "its record has version %d, and this loam knows %d", r.Version, RecordVersion)
	}
	return r, nil
}
