package lvm

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/loam-storage/loam/driver/pool/lvm/vg"
	"github.com/loam-storage/loam/driver/volume"
)

// Tags of a logical volume. They are all that is kept of a volume or snapshot beside its bytes.
const (
	tagPrefix     = vg.TagPrefix
	tagVolume     = tagPrefix + "volume="   // the ID, on a volume
	tagSnapshot   = tagPrefix + "snapshot=" // the ID, on a snapshot
	tagSpare      = tagPrefix + "spare="    // the ID of the volume that the blocks are wiped for
	tagGroup      = tagPrefix + "group="    // name of the group that a snapshot belongs to
	tagRecord     = tagPrefix + "record."   // what was asked for, in numbered pieces
	tagMaking     = tagPrefix + "making"    // half made, or half removed: hidden, and removed when the pool is opened. On a group: made whole then
	tagReady      = tagPrefix + "ready"     // every block was written by its user or reads as zeros
	tagWiped      = tagPrefix + "wiped="    // without ready: up to which byte that holds; none: 0
	tagReadyTo    = tagPrefix + "readyTo="  // up to which byte ready holds, or will when it is attached next (readyto.go)
	tagNonce      = tagPrefix + "nonce="    // on a spare: something random, by which the metadata that have it are known
	tagCopying    = tagPrefix + "copying"   // on a volume: active to copy from, and not attached
	tagFresh      = tagPrefix + "mark=fresh"
	tagFormatting = tagPrefix + "mark=formatting"
	tagBlock      = tagPrefix + "mark=block" // none of the three: Used
)

// pieceBytes is how much of a record goes into one tag. A tag has at most 1024 bytes, which are letters,
// digits and few others (lvm(8), TAGS).
const pieceBytes = 960

// maxPieces bounds what is put together again: a request has no more than 4 KiB in a map (CSI
// specification, "Size Limits"), and a record a few of those.
const maxPieces = 64

// recordTags encodes the record.
func recordTags(r volume.Record) ([]string, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return nil, err
	}
	rest := base64.RawURLEncoding.EncodeToString(text)
	var tags []string
	for i := 0; rest != ""; i++ {
		n := min(pieceBytes, len(rest))
		tags = append(tags, fmt.Sprintf("%s%d=%s", tagRecord, i, rest[:n]))
		rest = rest[n:]
	}
	if len(tags) > maxPieces {
		return nil, volume.Errorf(volume.Invalid, "what is to be recorded has %d bytes: that is too long for the tags of a logical volume", len(text))
	}
	return tags, nil
}

// readRecord reads what tags encoded.
func readRecord(tags []string) (volume.Record, error) {
	var encoded strings.Builder
	for i := range maxPieces {
		piece, ok := tagged(tags, fmt.Sprintf("%s%d=", tagRecord, i))
		if !ok {
			break
		}
		encoded.WriteString(piece)
	}
	text, err := base64.RawURLEncoding.DecodeString(encoded.String())
	if err != nil {
		return volume.Record{}, volume.Errorf(volume.Internal, "its record in the tags is damaged: %w", err)
	}
	return volume.ParseRecord(text)
}

// tagged returns the rest of the tag that begins so.
func tagged(tags []string, prefix string) (string, bool) {
	for _, tag := range tags {
		if rest, ok := strings.CutPrefix(tag, prefix); ok {
			return rest, true
		}
	}
	return "", false
}
