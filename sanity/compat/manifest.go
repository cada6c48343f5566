package compat

import (
	"encoding/json"
	"os"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// Manifest says what a release had in a pool when its archive was made.
type Manifest struct {
	Commit    string     `json:"commit"`           // of the release
	Config    string     `json:"config"`           // its configuration file; Directory stands for where the archive is unpacked
	Mount     string     `json:"mount,omitempty"`  // a file of the archive that is a file system, mounted as Directory/mnt
	Disk      string     `json:"disk,omitempty"`   // a file of the archive that is the disk of the volume group
	Group     string     `json:"group,omitempty"`  // the volume group
	Volumes   []Volume   `json:"volumes"`          // in the order in which they were made
	Inline    []Inline   `json:"inline"`           // ephemeral volumes that a pod had
	Snapshots []Snapshot `json:"snapshots"`        // those taken alone
	Groups    []Group    `json:"groups,omitempty"` // of snapshots
}

// What stands in a configuration for the directory that an archive is unpacked in, and for the disk of the volume group.
const (
	Directory = "{directory}"
	Disk      = "{disk}"
)

// Row is what the release printed of a volume or snapshot, as JSON.
type Row map[string]any

// Handle returns the CSI handle.
func (r Row) Handle() string { return r.text("handle") }

// Mark returns the mark of a volume.
func (r Row) Mark() string { return r.text("mark") }

func (r Row) text(key string) string {
	text, _ := r[key].(string)
	return text
}

// Volume is a volume that was made with CreateVolume.
type Volume struct {
	Request json.RawMessage `json:"request"` // the csi.CreateVolumeRequest
	Row     Row             `json:"row"`     // of loam volumes -o json
	Content Content         `json:"content"`
	Shrunk  bool            `json:"shrunk,omitempty"` // its file system is smaller than it, for it was expanded while it was nowhere mounted
}

// Inline is a volume that was made with NodePublishVolume for a pod that is still there.
type Inline struct {
	Request json.RawMessage `json:"request"` // the csi.NodePublishVolumeRequest, without its target
	Row     Row             `json:"row"`
	Content Content         `json:"content"`
}

// Snapshot is a snapshot of one volume.
type Snapshot struct {
	Request json.RawMessage `json:"request,omitempty"` // the csi.CreateSnapshotRequest; none for a member of a group
	Row     Row             `json:"row"`               // of loam snapshots -o json
	Content Content         `json:"content"`
}

// Group is a group snapshot.
type Group struct {
	Request json.RawMessage `json:"request"` // the csi.CreateVolumeGroupSnapshotRequest
	Handle  string          `json:"handle"`
	Members []Snapshot      `json:"members"`
}

// Content is what was in a volume: the SHA-256 of each file, by its path, or of the whole device.
type Content struct {
	Files  map[string]string `json:"files,omitempty"`
	Device string            `json:"device,omitempty"`
}

// Encode returns a request as it is kept.
func Encode(m proto.Message) (json.RawMessage, error) {
	text, err := protojson.Marshal(m)
	return json.RawMessage(text), err
}

// Decode reads a request that was kept.
func Decode(text json.RawMessage, m proto.Message) error { return protojson.Unmarshal(text, m) }

// ConfigIn returns the configuration of the pool when its archive is unpacked in dir, or on a disk.
func (m Manifest) ConfigIn(dir, disk string) string {
	return strings.NewReplacer(Directory, dir, Disk, disk).Replace(m.Config)
}

// Write keeps the manifest.
func (m Manifest) Write(path string) error {
	text, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(text, '\n'), 0o644)
}

// ReadManifest reads what Write kept.
func ReadManifest(path string) (m Manifest, err error) {
	text, err := os.ReadFile(path)
	if err == nil {
		err = json.Unmarshal(text, &m)
	}
	return m, err
}
