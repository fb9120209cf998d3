wit_bindgen::generate!({ path: "wit", world: "hello" });

struct Hello;

impl exports::pie::hello::run::Guest for Hello {
    fn run(input: String) -> Result<String, String> {
        println!("Hello from Rust, {input}");
        match input.as_str() {
            "fail" => return Err("told to fail".to_string()),
            "panic" => panic!("told to panic"),
            "exit" => std::process::exit(1),
            "sleep" => {
                let start = std::time::Instant::now();
                std::thread::sleep(std::time::Duration::from_millis(20));
                return Ok(format!("slept {}", start.elapsed().as_millis() >= 20));
            }
            "arguments" => {
                let arguments: Vec<String> = std::env::args().collect();
                return Ok(format!("{arguments:?} {:?}", std::env::var("NAME")));
            }
            "files" => return files().map_err(|error| format!("{:?}", error.kind())),
            _ => {}
        }
        let mut words = std::collections::BTreeMap::new();
        for word in input.split(' ') {
            *words.entry(word.to_uppercase()).or_insert(0) += word.len();
        }
        Ok(format!("{words:?}"))
    }
}

fn files() -> std::io::Result<String> {
    use std::io::{Read, Write};
    std::fs::create_dir("/scratch/inner")?;
    let mut file = std::fs::File::create("/scratch/inner/a.txt")?;
    file.write_all(b"first line\n")?;
    drop(file);
    let mut file = std::fs::OpenOptions::new().append(true).open("/scratch/inner/a.txt")?;
    file.write_all(b"second line\n")?;
    drop(file);
    std::fs::rename("/scratch/inner/a.txt", "/scratch/b.txt")?;
    let mut text = String::new();
    std::fs::File::open("/scratch/b.txt")?.read_to_string(&mut text)?;
    let bytes = std::fs::metadata("/scratch/b.txt")?.len();
    let mut names: Vec<String> = std::fs::read_dir("/scratch")?
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    std::fs::remove_file("/scratch/b.txt")?;
    std::fs::remove_dir("/scratch/inner")?;
    let outside = ["/scratch/../etc/passwd", "/etc/passwd", "/scratch/link"]
        .map(|path| std::fs::read(path).is_ok());
    Ok(format!("{names:?} {bytes} {text:?} {outside:?}"))
}

export!(Hello);
