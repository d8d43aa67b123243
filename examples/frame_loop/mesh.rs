//! The mesh: positions in fixed point, from an OBJ file.

use crate::Failure;
use crate::inputs::quantise;
use std::path::Path;

/// What the passes need of a mesh.
#[derive(Debug)]
pub(crate) struct Mesh {
    /// Vertex positions, 16.16.
    pub(crate) positions: Vec<[i32; 3]>,
    /// Indices of a draw.
    pub(crate) indices: u32,
}

const ROCK: &[u8] = include_bytes!("../assets/rock.obj");

/// Reads a file, or the rock that is built in.
pub(crate) fn load(file: Option<&Path>) -> Result<Mesh, Failure> {
    let options = tobj::LoadOptions {
        triangulate: true,
        ignore_points: true,
        ignore_lines: true,
        ..Default::default()
    };
    // Materials are of no use here; an OBJ that names some is fine without them.
    let no_materials = |_: &Path| Ok(Default::default());
    let read = match file {
        None => tobj::load_obj_buf(&mut &ROCK[..], &options, no_materials),
        Some(path) => {
            let file = std::fs::File::open(path)
                .map_err(|e| format!("cannot read the mesh {}: {e}", path.display()))?;
            tobj::load_obj_buf(&mut std::io::BufReader::new(file), &options, no_materials)
        }
    };
    let name = file.map_or_else(|| "the built-in rock".into(), |p| p.display().to_string());
    let (models, _) = read.map_err(|e| format!("{name} is no OBJ file that can be read: {e}"))?;
    let mut mesh = Mesh { positions: Vec::new(), indices: 0 };
    for model in &models {
        let positions = model.mesh.positions.chunks_exact(3);
        mesh.positions.extend(positions.map(|p| [quantise(p[0]), quantise(p[1]), quantise(p[2])]));
        mesh.indices += u32::try_from(model.mesh.indices.len())?;
    }
    if mesh.positions.is_empty() || mesh.indices == 0 {
        return Err(format!("{name} holds no triangle").into());
    }
    Ok(mesh)
}
